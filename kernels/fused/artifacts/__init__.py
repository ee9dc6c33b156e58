"""What the fused product keeps between processes: the cache of compiled code, tables of tuned tiles."""

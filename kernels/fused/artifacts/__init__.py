"""Files of the fused product: its sources, the cache of compiled code, the tables of tuned tiles."""

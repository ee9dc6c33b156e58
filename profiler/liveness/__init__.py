"""Leases and heartbeats: which process holds a device, and that it is alive."""

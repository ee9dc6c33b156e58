"""Coordination of processes: leases, heartbeats, schedules, and events and logs of runs."""

"""Executors: the processes that measure a run's problems, on this host or on workers of a Dask cluster."""

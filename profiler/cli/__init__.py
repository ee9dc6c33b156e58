"""Commands of the profiler: profile, compare, doctor, nightly, serve, tune, worker."""

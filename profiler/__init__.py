"""The profiler: measures kernels on devices and records the results in the store."""

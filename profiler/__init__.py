"""From kernels to numbers to the store: suites, the measuring loop, probes, runs, the schedule."""

"""profiler/liveness: say in one sentence what lives here."""

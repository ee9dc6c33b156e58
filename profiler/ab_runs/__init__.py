"""profiler/ab_runs: say in one sentence what lives here."""

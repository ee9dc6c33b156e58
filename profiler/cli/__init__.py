"""profiler/cli: say in one sentence what lives here."""

"""profiler/planning: say in one sentence what lives here."""

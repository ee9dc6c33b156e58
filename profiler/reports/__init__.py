"""profiler/reports: say in one sentence what lives here."""

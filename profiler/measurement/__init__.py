"""profiler/measurement: say in one sentence what lives here."""

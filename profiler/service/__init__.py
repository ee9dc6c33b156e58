"""profiler/service: say in one sentence what lives here."""

"""profiler/backends: say in one sentence what lives here."""

"""profiler/devices: say in one sentence what lives here."""

"""profiler/revisions: say in one sentence what lives here."""

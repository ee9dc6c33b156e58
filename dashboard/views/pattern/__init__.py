"""dashboard/views/pattern: say in one sentence what lives here."""

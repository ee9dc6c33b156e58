"""dashboard/views/compare: say in one sentence what lives here."""

"""dashboard/data: say in one sentence what lives here."""

"""dashboard/formatting: say in one sentence what lives here."""

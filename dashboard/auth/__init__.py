"""dashboard/auth: say in one sentence what lives here."""

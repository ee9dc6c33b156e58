"""dashboard/views/overview: say in one sentence what lives here."""

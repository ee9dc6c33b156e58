"""dashboard/views/requests: say in one sentence what lives here."""

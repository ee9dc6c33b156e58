"""dashboard/views/energy: say in one sentence what lives here."""

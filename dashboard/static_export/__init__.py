"""dashboard/static_export: say in one sentence what lives here."""

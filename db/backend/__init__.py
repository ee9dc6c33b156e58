"""db/backend: say in one sentence what lives here."""

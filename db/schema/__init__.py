"""db/schema: say in one sentence what lives here."""

"""db/queries: say in one sentence what lives here."""

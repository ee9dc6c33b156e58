"""db/interchange: say in one sentence what lives here."""

"""db/alerts: say in one sentence what lives here."""

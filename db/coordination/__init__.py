"""db/coordination: say in one sentence what lives here."""

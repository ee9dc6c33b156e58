"""db/writes: say in one sentence what lives here."""

"""db/maintenance: say in one sentence what lives here."""

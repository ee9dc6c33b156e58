"""db/compiled_code: say in one sentence what lives here."""

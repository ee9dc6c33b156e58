"""ci/formats: say in one sentence what lives here."""

"""ci/confirmation: say in one sentence what lives here."""

"""ci/regression: say in one sentence what lives here."""

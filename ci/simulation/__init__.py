"""ci/simulation: say in one sentence what lives here."""

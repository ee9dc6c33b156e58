"""ci/gate: say in one sentence what lives here."""

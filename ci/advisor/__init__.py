"""ci/advisor: say in one sentence what lives here."""

"""dashboard/views/runs: say in one sentence what lives here."""

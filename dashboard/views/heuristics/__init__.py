"""dashboard/views/heuristics: say in one sentence what lives here."""

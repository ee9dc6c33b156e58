"""dashboard/components: say in one sentence what lives here."""

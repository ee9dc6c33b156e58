"""ci/notifications: say in one sentence what lives here."""

"""db/request_queue: say in one sentence what lives here."""

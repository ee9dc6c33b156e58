"""Services around runs: the nightly, the server of requests, confirmations, schedules."""

"""The interface for programs: a JSON API over the store, metrics for Prometheus, and a health check."""

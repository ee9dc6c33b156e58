"""What scripts and monitoring read: the rows of `--json` and of the JSON API, and Prometheus metrics."""

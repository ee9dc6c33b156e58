"""The queue of requested runs, with the limits and the events of requests."""

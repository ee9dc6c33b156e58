"""The request page: the form of an ad-hoc run, the queue, and the workers."""

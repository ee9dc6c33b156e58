"""Levels of series as judging found them, and the lasting changes between them."""

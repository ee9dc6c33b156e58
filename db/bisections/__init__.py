"""Bisections in the store: how far the search for an alert's cause is, and what it found."""

"""Reads of the store: each takes the store first and returns frozen values."""

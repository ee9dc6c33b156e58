"""Interleaved measurements of two revisions, and their stored ratios."""

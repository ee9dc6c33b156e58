"""Simulated nights with planted regressions, judged by the same code as real ones."""

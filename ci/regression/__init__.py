"""Regression detection: history of a run, threshold test, significance, and verdicts with their causes."""

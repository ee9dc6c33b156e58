"""Alerts: verdicts with one likely cause, raised once, told once."""

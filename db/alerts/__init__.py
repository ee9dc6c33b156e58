"""Alerts: their lifecycle, causes, notifications waiting in the outbox, and precision."""

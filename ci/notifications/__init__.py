"""Notifications: the configured channels, and delivery of the outbox to them."""

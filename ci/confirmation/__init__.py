"""Confirmation of provisional alerts: requesting a repeated measurement, its decision, and applying it."""

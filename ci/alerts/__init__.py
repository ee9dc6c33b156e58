"""Alerts: verdicts grouped by likely cause, matched to open alerts, and their lifecycle after each run."""

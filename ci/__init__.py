"""Judgement and alarm: verdicts on the newest points, the life and telling of alerts, reports, advice."""

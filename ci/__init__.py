"""Judgement and alerting: verdicts on the newest runs, alerts and notifications, gates, reports, advice."""

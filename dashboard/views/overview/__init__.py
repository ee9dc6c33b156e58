"""The overview: the newest night in a line, its alerts, and every device."""

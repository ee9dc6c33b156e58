"""The overview: changes of the newest nights, device cards, missing data and heuristics."""

"""Costs of layers of every family: predicted from their parts, ranked, scored. Without torch."""

"""Rules that predict the winner from the problem and device facts alone; no torch, no store."""

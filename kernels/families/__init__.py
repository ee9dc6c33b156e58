"""Families: ways to parametrise the matrix of a linear layer. Shapes and counts only, without torch."""

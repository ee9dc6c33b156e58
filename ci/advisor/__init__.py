"""Advice on which implementation to use, and scoring, fitting and reporting on heuristics."""

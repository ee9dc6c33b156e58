"""Limits of a gate: significance rates, the smallest change that matters, and the time budget."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GateConfig:
    """How much evidence a gate demands, and how much it may measure."""

    floor: float = 0.02
    """The smallest relative change that is called faster or slower."""
    rounds: int = 12
    """ABBA rounds of one cell by one pair of processes."""
    suspicion_rate: float = 0.05
    """False-discovery rate at which cells are suspected, all cells together."""
    confirmation_rate: float = 0.01
    """False-discovery rate at which the pairs measured since confirm a suspected change."""
    confirming_pairs: int = 4
    most_pairs: int = 10
    """Pairs of processes after which an undecided cell is reported as ambiguous."""
    budget_s: float = 600.0

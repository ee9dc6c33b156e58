"""What measuring the flagged cells again at once says of a finding. Pure; `ci.confirming` asks for it."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ci.rule import Floats

Decision = Literal["confirmed", "dismissed", "unclear"]

FOUND_AGAIN = 0.75
"""A finding is confirmed where at least this share of its change is found again ..."""
GONE = 0.5
"""... and dismissed where less than this is."""
LEAST_Z = 8.0
"""Noise units that what is found again must have, all series taken together. A wild night of one series is
partly there when it is measured again, so one series must be far out."""


def decide(first: Floats, again: Floats, noise: Floats) -> tuple[Decision, float]:
    """Whether a finding holds, and the share of its change that was found again.

    Args:
        first: relative change of each flagged series from its level, `(series,)`.
        again: the same of the second measurement, with what the machine did in between taken out.
        noise: of each series, one noise unit.
    """
    known = np.isfinite(first) & np.isfinite(again) & (noise > 0) & (first != 0)
    if not known.any():
        return "unclear", float("nan")
    weight = noise[known] ** -2.0
    both = float(np.sum(weight * first[known] * again[known]))
    own = float(np.sum(weight * first[known] ** 2))
    share = both / own
    if share < GONE:
        return "dismissed", share
    sure = share >= FOUND_AGAIN and both / np.sqrt(own) >= LEAST_Z
    return ("confirmed" if sure else "unclear"), share


def machine_between(first: Floats, again: Floats) -> float:
    """What the machine did between two measurements of cells: the median ratio of those not flagged."""
    ratios = again / first
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else 1.0

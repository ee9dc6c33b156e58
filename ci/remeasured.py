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
"""Noise units that what is found again must have, all series taken together."""
LEAST_Z_ALONE = 12.0
"""The same of one series alone: its wild night or a second mode that a young history does not hold is there
when it is measured again, and only other nights tell it from a change."""


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
    least_z = LEAST_Z if np.count_nonzero(known) > 1 else LEAST_Z_ALONE
    sure = share >= FOUND_AGAIN and both / np.sqrt(own) >= least_z
    return ("confirmed" if sure else "unclear"), share


def machine_between(first: Floats, again: Floats) -> float:
    """What the machine did between two measurements of cells: the median ratio of those not flagged."""
    ratios = again / first
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else 1.0

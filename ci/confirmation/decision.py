"""What measuring the flagged cells again at once says of a finding. Pure; `kswatch.ci.confirmation.apply` reads the runs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import special  # importing scipy.stats takes longer than reading a night

from kswatch.ci.regression.threshold import Floats

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

FEWEST_PAIRS = 3
"""Of processes that measured both revisions in turns, before anything is said."""
IN_TURNS_RATE = 0.01
"""So rarely may pairs of equal revisions stand as far from nothing (Student's t over pairs)."""


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


def decide_in_turns(first: Floats, again: Floats) -> tuple[Decision, float]:
    """The same of the last good revision and the night's, measured in turns by pairs of fresh processes.

    Pairs are counted, not rounds: processes of the same code differ by where their memory lies (ci/gate/sequential.py).
    What the machine does, a second mode included, is in both revisions: no noise unit of the nights counts.
    Changes are taken as logarithms: on a busy machine a ratio may be off by three times, to either side.
    Pairs that do not agree dismiss nothing: the whole change must be ruled out.

    Args:
        first: relative change of each flagged series from its level, `(series,)`.
        again: of the night's revision from the good one, `(pairs, series)`; NaN where one gave no time.
    """
    known = np.isfinite(again) & np.isfinite(first)
    again, first = (np.log1p(np.where(known, changes, 0.0)) for changes in (again, first))
    squares = np.sum(first**2, axis=1)
    shares = np.sum(first * again, axis=1)[squares > 0] / squares[squares > 0]
    if not len(shares):
        return "unclear", float("nan")
    share = float(np.mean(shares))
    if len(shares) < FEWEST_PAIRS:
        return "unclear", share
    error = float(np.std(shares, ddof=1)) / np.sqrt(len(shares))
    reach = error * float(-special.stdtrit(len(shares) - 1, IN_TURNS_RATE / 2))
    if share < GONE:
        return ("dismissed" if share + reach < 1 else "unclear"), share
    return ("confirmed" if share > reach and share >= FOUND_AGAIN else "unclear"), share


def machine_between(first: Floats, again: Floats) -> float:
    """What the machine did between two measurements of cells: the median ratio of those not flagged."""
    ratios = again / first
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else 1.0

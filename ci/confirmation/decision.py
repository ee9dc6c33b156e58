"""Decisions of a confirmation: pure functions of the flagged changes and of the repeated measurements."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import special  # importing scipy.stats takes longer than reading a night

from kswatch.ci.regression.threshold import Floats

Decision = Literal["confirmed", "dismissed", "unclear"]

CONFIRMED_FROM = 0.75
"""Share of the change that must reproduce to confirm a finding ..."""
DISMISSED_BELOW = 0.5
"""... and share below which it is dismissed."""
MIN_Z = 8.0
"""Noise units that the reproduced change must have, all series together."""
MIN_SERIES = 4
"""Series that must reproduce, as many as confirm each other on one night. Of fewer, an outlier that lasts for
the night, or a second mode, reproduces at once, and only other nights distinguish it from a change."""

MIN_PAIRS = 3
"""Pairs of processes below which interleaved measurements are unclear."""
INTERLEAVED_RATE = 0.01
"""Significance level of Student's t over pairs."""


def decide_repeated(first: Floats, again: Floats, noise: Floats) -> tuple[Decision, float]:
    """Decide by repeated measurements of the flagged revision alone; also the share that reproduced.

    Args:
        first: relative change of each flagged series from its level, `(series,)`.
        again: the same of the repeated measurement, corrected by the machine's change in between.
        noise: one noise unit of each series.
    """
    known = np.isfinite(first) & np.isfinite(again) & (noise > 0) & (first != 0)
    if not known.any():
        return "unclear", float("nan")
    weight = noise[known] ** -2.0
    both = float(np.sum(weight * first[known] * again[known]))
    own = float(np.sum(weight * first[known] ** 2))
    share = both / own
    if share < DISMISSED_BELOW:
        return "dismissed", share
    enough = np.count_nonzero(known) >= MIN_SERIES
    sure = enough and share >= CONFIRMED_FROM and both / np.sqrt(own) >= MIN_Z
    return ("confirmed" if sure else "unclear"), share


def decide_interleaved(first: Floats, again: Floats) -> tuple[Decision, float]:
    """Decide by pairs of the last good and the flagged revision, interleaved; also the share that reproduced.

    The sampling unit is the pair, not the round, as in the gate (`kswatch.ci.gate.estimators`). Effects of
    the machine, a second mode included, are in both revisions, so the noise of the nights does not apply.
    Changes are taken as logarithms, since a ratio on a busy machine may be off by a factor of three to
    either side. To dismiss, the pairs must exclude the whole change; pairs that disagree dismiss nothing.

    Args:
        first: relative change of each flagged series from its level, `(series,)`.
        again: change of the flagged revision from the good one, `(pairs, series)`; NaN where not measured.
    """
    known = np.isfinite(again) & np.isfinite(first)
    again, first = (np.log1p(np.where(known, changes, 0.0)) for changes in (again, first))
    squares = np.sum(first**2, axis=1)
    shares = np.sum(first * again, axis=1)[squares > 0] / squares[squares > 0]
    if not len(shares):
        return "unclear", float("nan")
    share = float(np.mean(shares))
    if len(shares) < MIN_PAIRS:
        return "unclear", share
    error = float(np.std(shares, ddof=1)) / np.sqrt(len(shares))
    reach = error * float(-special.stdtrit(len(shares) - 1, INTERLEAVED_RATE / 2))
    if share < DISMISSED_BELOW:
        return ("dismissed" if share + reach < 1 else "unclear"), share
    return ("confirmed" if share > reach and share >= CONFIRMED_FROM else "unclear"), share


def machine_change(first: Floats, again: Floats) -> float:
    """The machine's change between two measurements: the median ratio of the cells that were not flagged."""
    ratios = again / first
    ratios = ratios[np.isfinite(ratios)]
    return float(np.median(ratios)) if len(ratios) else 1.0

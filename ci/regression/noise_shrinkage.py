"""How noisy a series' nights are, believed in view of its kin.

A noise unit made of few nights errs by as much as it is large: a series whose nights happened to agree would
be called moved by an ordinary night. So what few nights explain of a family's differences is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kswatch.ci.regression.families import LEAST_POOLED, Ints
from kswatch.ci.regression.threshold import MAD_TO_SIGMA, Floats, Level

ERROR_OF_TWO_NIGHTS = 1.2
"""The sigma of a noise unit's logarithm, times the root of its nights but one; simulated, 1.0 for independent
nights and 1.2 for those that are correlated by 0.6 (`tests/ci/regression/test_noise_shrinkage.py`)."""
WILD = 3.0
"""So many of those sigmas above its kin, a series is wild indeed, and stays so."""


@dataclass(frozen=True)
class SharedNoise:
    """What each series' kin says of its noise unit's logarithm, `(series,)` each."""

    middle: Floats
    """NaN where there is too little kin."""
    spread: Floats
    """Sigma of the family's, by chance or in truth."""

    def of(self, rows: slice, nights: int) -> SharedNoise:
        """The same for so many nights of some series, one night below another."""
        return SharedNoise(np.repeat(self.middle[rows], nights), np.repeat(self.spread[rows], nights))


def shared_noise(level: Level, family: Ints) -> SharedNoise:
    """What the families' series have in common; `family` is the number of each series' kin."""
    middle, spread = np.full(len(family), np.nan), np.ones(len(family))
    known = np.isfinite(level.value)
    for name in np.unique(family[known]):
        kin = np.flatnonzero(known & (family == name))
        if len(kin) >= LEAST_POOLED:
            logarithms = np.log(level.noise[kin])
            middle[kin] = np.median(logarithms)
            spread[kin] = MAD_TO_SIGMA * np.median(np.abs(logarithms - middle[kin]))
    return SharedNoise(middle, spread)


def drawn_together(level: Level, kin: SharedNoise) -> Level:
    """The level with its noise unit drawn towards its kin by the share of their spread that chance explains.

    An empirical Bayes estimate of variances (Smyth 2004, "Linear models and empirical Bayes methods for
    assessing differential expression in microarray experiments", section 6), robust: what is far above its
    kin stays as it is.
    """
    logarithm = np.log(level.noise)
    by_chance = ERROR_OF_TWO_NIGHTS / np.sqrt(np.maximum(level.noise_nights - 1, 1))
    share = (by_chance / np.maximum(kin.spread, by_chance)) ** 2
    above = np.maximum(logarithm - kin.middle, 0.0) / by_chance
    share *= np.maximum(1 - (above / WILD) ** 2, 0.0)
    drawn = np.exp(logarithm + share * (kin.middle - logarithm))
    return replace(level, noise=np.where(np.isfinite(drawn), drawn, level.noise))

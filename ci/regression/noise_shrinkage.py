"""Variance shrinkage: the noise of a series, shrunk towards that of its family (empirical Bayes).

A noise unit estimated from few nights has a large error: a series whose nights happened to agree would be
called slower on any ordinary night. So the share of a family's spread that sampling explains is removed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kswatch.ci.regression.families import MIN_POOL_SIZE, Ints
from kswatch.ci.regression.threshold import Floats, SeriesLevel
from kswatch.db.statistics import MAD_TO_SIGMA

ERROR_OF_TWO_NIGHTS = 1.2
"""The standard deviation of a noise unit's logarithm, times the root of its nights less one; simulated: 1.0
for independent nights, 1.2 for a correlation of 0.6 (`tests/ci/regression/test_noise_shrinkage.py`)."""
OUTLIER_SIGMAS = 3.0
"""A noise unit this many of those standard deviations above its family's is not shrunk."""


@dataclass(frozen=True)
class FamilyNoise:
    """The distribution of the logarithm of noise units in each series' family, `(series,)` each."""

    middle: Floats
    """The median; NaN where the family is too small."""
    spread: Floats
    """The standard deviation, from sampling and true differences together."""

    def of(self, rows: slice, nights: int) -> FamilyNoise:
        """The values of some series, each repeated for `nights` nights."""
        return FamilyNoise(np.repeat(self.middle[rows], nights), np.repeat(self.spread[rows], nights))


def family_noise(level: SeriesLevel, family: Ints) -> FamilyNoise:
    """The noise of each series' family; `family` is its index, `(series,)`."""
    middle, spread = np.full(len(family), np.nan), np.ones(len(family))
    known = np.isfinite(level.value)
    for name in np.unique(family[known]):
        members = np.flatnonzero(known & (family == name))
        if len(members) >= MIN_POOL_SIZE:
            logarithms = np.log(level.noise[members])
            middle[members] = np.median(logarithms)
            spread[members] = MAD_TO_SIGMA * np.median(np.abs(logarithms - middle[members]))
    return FamilyNoise(middle, spread)


def shrink_to_family(level: SeriesLevel, prior: FamilyNoise) -> SeriesLevel:
    """The level with its noise units shrunk by the share of the family's spread that sampling explains.

    An empirical Bayes estimate of variances (Smyth 2004, "Linear models and empirical Bayes methods for
    assessing differential expression in microarray experiments", section 6), made robust: an outlier above
    its family is not shrunk.
    """
    logarithm = np.log(level.noise)
    sampling = ERROR_OF_TWO_NIGHTS / np.sqrt(np.maximum(level.noise_nights - 1, 1))
    share = (sampling / np.maximum(prior.spread, sampling)) ** 2
    above = np.maximum(logarithm - prior.middle, 0.0) / sampling
    share *= np.maximum(1 - (above / OUTLIER_SIGMAS) ** 2, 0.0)
    shrunk = np.exp(logarithm + share * (prior.middle - logarithm))
    return replace(level, noise=np.where(np.isfinite(shrunk), shrunk, level.noise))

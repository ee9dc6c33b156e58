"""The levels of a series: what lies between its change points, each with its interval and its step.

values, intervals, quarantined points -> change points -> one `Level` between each two of them
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kswatch.ci.change_points.detector import significant_changes
from kswatch.db.statistics import MAD_TO_SIGMA, Z_95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """Consecutive points of a series around one median, in the unit of its values."""

    start: int
    """Index of the first point; the change point, except for the first level."""
    stop: int
    """Index after the last point."""
    points: int
    """Points that count: finite and not quarantined."""
    median: float
    low: float
    """Lower bound of the median's 95 % interval."""
    high: float
    noise: float
    """Noise unit of the whole series: 1.4826 x MAD of its points around their levels."""
    step: float | None
    """Median minus that of the previous level; None for the first level."""

    @property
    def relative_step(self) -> float | None:
        """The step as a share of the previous level's median; None without one, or where that is 0."""
        if self.step is None or self.median == self.step:
            return None
        return self.step / abs(self.median - self.step)


def levels(
    values: Sequence[float],
    half_widths: Sequence[float] | None = None,
    quarantined: Sequence[bool] | None = None,
) -> tuple[Level, ...]:
    """The levels of a series in order, which together cover all its points.

    Args:
        values: the series; NaN and infinite values are passed over.
        half_widths: half of each point's 95 % interval, in the unit of the values; NaN where not known.
        quarantined: true for each point to pass over, such as one of a throttled machine.

    Returns:
        One level at least where a point counts; none where no point does.
    """
    series = np.asarray(values, dtype=float)
    skipped = np.zeros(len(series), bool) if quarantined is None else np.asarray(quarantined, dtype=bool)
    counted = np.where(skipped | ~np.isfinite(series), np.nan, series)
    if np.isnan(counted).all():
        return ()
    within = None if half_widths is None else np.asarray(half_widths, dtype=float) / Z_95
    bounds = [0, *significant_changes(counted, within), len(series)]
    parts = [counted[first:last] for first, last in zip(bounds, bounds[1:], strict=False)]
    parts = [part[~np.isnan(part)] for part in parts]
    noise = MAD_TO_SIGMA * float(
        np.median(np.abs(np.concatenate([part - np.median(part) for part in parts])))
    )
    found: list[Level] = []
    for part, start, stop in zip(parts, bounds, bounds[1:], strict=False):
        found.append(_level(part, start, stop, noise, found[-1].median if found else None))
    return tuple(found)


def _level(points: Floats, start: int, stop: int, noise: float, previous: float | None) -> Level:
    median = float(np.median(points))
    low, high = _median_interval(np.sort(points))
    return Level(
        start=start,
        stop=stop,
        points=len(points),
        median=median,
        low=low,
        high=high,
        noise=noise,
        step=None if previous is None else median - previous,
    )


def _median_interval(ordered: Floats) -> tuple[float, float]:
    """The 95 % interval of a median between order statistics, by the sign test; the range of few points."""
    count = len(ordered)
    rank = max(math.floor(count / 2 - Z_95 * math.sqrt(count) / 2), 0)
    return float(ordered[rank]), float(ordered[count - 1 - rank])

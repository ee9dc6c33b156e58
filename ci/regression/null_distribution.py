"""How often quiet nights alone go as far, learnt from the quiet nights themselves.

No distribution is assumed for the bulk: the store's own past nights are the distribution, with their
heavy tails, second modes and correlation. Only beyond what was ever seen a tail is fitted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BULK = 0.98
"""The outermost fiftieth of the quiet nights is the tail, where that is enough to fit one."""
_ENOUGH = 20
LEAST_SHAPE = 0.01
"""All but exponential, which is the lightest tail that few points can tell of."""
_MOST_SHAPE = 0.5
_LEAST_SCALE = 0.5
"""Noise units; few nights make no steep tail."""


def chance_of(found: Floats, quiet: Floats, least_shape: float = LEAST_SHAPE) -> Floats:
    """How often a quiet night goes at least as far as each of `found`; both in noise units, from 0 up.

    Args:
        found: what was found.
        quiet: what quiet nights gave.
        least_shape: of the generalised Pareto tail: it is not believed to be lighter, whatever was seen.
    """
    quiet = np.sort(quiet)
    limit, scale, shape = _tail(quiet, least_shape)
    beyond = np.count_nonzero(quiet > limit)
    as_far = len(quiet) - np.searchsorted(quiet, found)
    further = (1 + shape * np.maximum(found - limit, 0) / scale) ** (-1 / shape)
    return np.where(found > limit, (beyond + 1) * further, as_far + 1) / (len(quiet) + 1)


def _tail(quiet: Floats, least_shape: float) -> tuple[float, float, float]:
    """Where the tail begins, its scale and its shape: a generalised Pareto distribution.

    Fitted by moments (Hosking and Wallis 1987, "Parameter and quantile estimation for the generalized
    Pareto distribution"); where too few points lie in it, it begins beyond them all.
    """
    outer = quiet[quiet > 0]
    if len(outer) == 0:
        return 0.0, _LEAST_SCALE, least_shape
    # zeros are many, and say nothing of how the others fall off
    limit = max(float(np.quantile(quiet, _BULK)), float(np.median(outer)))
    excess = quiet[quiet > limit] - limit
    if len(excess) < _ENOUGH:
        return float(quiet.max()), _LEAST_SCALE, least_shape
    mean, variance = float(excess.mean()), float(excess.var())
    shape = min(max(0.5 * (1 - mean**2 / max(variance, 1e-12)), least_shape), _MOST_SHAPE)
    return limit, max(mean * (1 - shape), _LEAST_SCALE), shape


def survivors(chances: Floats, rate: float) -> Bools:
    """Which findings stand when all are looked at together (Benjamini and Hochberg, 1995).

    Of the survivors at most the share `rate` is expected to be chance; on a quiet night there is any
    at all with at most that probability.
    """
    ordered = np.sort(chances)
    passing = ordered <= rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    return chances <= (ordered[passing][-1] if passing.any() else -1.0)

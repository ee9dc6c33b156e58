"""The null distribution of findings, estimated from the store's own quiet nights, and p-values by it.

The bulk is empirical, with the heavy tails, second modes and correlation of real nights. Only its outermost
part, and all beyond the observed range, is a fitted tail.
"""

from __future__ import annotations

import numpy as np

from kswatch.ci.regression.threshold import Floats

_BULK = 0.98
"""The quantile of quiet nights at which the tail begins, where enough points lie beyond it."""
_MIN_TAIL_POINTS = 20
MIN_SHAPE = 0.01
"""Nearly exponential: few points are no evidence of a lighter tail."""
_MAX_SHAPE = 0.5
_MIN_SCALE = 0.5
"""In noise units; few nights are no evidence of a steeper tail."""


def empirical_p_values(found: Floats, quiet: Floats, min_shape: float = MIN_SHAPE) -> Floats:
    """The probability that a quiet night is at least as extreme as each of `found`.

    Args:
        found: the strengths of the findings in noise units, 0 or more.
        quiet: the same of quiet nights.
        min_shape: of the generalised Pareto tail; a lighter tail is never assumed.
    """
    quiet = np.sort(quiet)
    limit, scale, shape = _tail(quiet, min_shape)
    beyond = np.count_nonzero(quiet > limit)
    as_extreme = len(quiet) - np.searchsorted(quiet, found)
    tail_share = (1 + shape * np.maximum(found - limit, 0) / scale) ** (-1 / shape)
    return np.where(found > limit, (beyond + 1) * tail_share, as_extreme + 1) / (len(quiet) + 1)


def _tail(quiet: Floats, min_shape: float) -> tuple[float, float, float]:
    """The limit, scale and shape of the tail, a generalised Pareto distribution.

    Fitted by moments (Hosking and Wallis 1987, "Parameter and quantile estimation for the generalized
    Pareto distribution"); where too few points lie in it, it begins beyond them all.
    """
    outer = quiet[quiet > 0]
    if len(outer) == 0:
        return 0.0, _MIN_SCALE, min_shape
    # the many zeros carry no information on how the others fall off
    limit = max(float(np.quantile(quiet, _BULK)), float(np.median(outer)))
    excess = quiet[quiet > limit] - limit
    if len(excess) < _MIN_TAIL_POINTS:
        return float(quiet.max()), _MIN_SCALE, min_shape
    mean, variance = float(excess.mean()), float(excess.var())
    shape = min(max(0.5 * (1 - mean**2 / max(variance, 1e-12)), min_shape), _MAX_SHAPE)
    return limit, max(mean * (1 - shape), _MIN_SCALE), shape

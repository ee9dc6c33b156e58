"""Noise of real series from night to night: residuals around the levels that people marked.

From the performance series of SAP HANA (RESIDUALS.md names the origin and its licence). They have what normal
draws lack: correlation in time, outliers, second modes, and slow wander that people left alone.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PACKED = Path(__file__).with_name("residuals.npz")
NIGHTS = 400
"""Nights of a stretch."""
STEP = 0.01
"""Noise units of one step of the packed numbers."""


@cache
def stretches() -> Floats:
    """The residuals in noise units (1.4826 x their series' MAD), `(stretches, NIGHTS)`."""
    with np.load(PACKED) as packed:
        return np.asarray(packed["units"] * STEP, dtype=float)


def draw(rng: np.random.Generator, series: int, nights: int) -> Floats:
    """Noise in units of its own 1.4826 x MAD, `(series, nights)`.

    Each series is a stretch in its own order, from a random night on; a longer one continues with another
    stretch.
    """
    rows = [_stretch(rng, nights) for _ in range(series)]
    return np.array(rows).reshape(series, nights)


def _stretch(rng: np.random.Generator, nights: int) -> Floats:
    known = stretches()
    parts: list[Floats] = []
    while sum(map(len, parts)) < nights:
        row = known[rng.integers(len(known))]
        parts.append(np.roll(row, -int(rng.integers(NIGHTS))))
    return np.concatenate(parts)[:nights] if parts else np.zeros(0)

"""Pack the noise of labelled series into ci/simulation/residuals.npz, which the simulator draws from.

    python -m tests.benchmarks.simulation.pack_residuals FOLDER/changepoint/sap_human_dev

Each row is a stretch of one series: its distances from the levels that people marked, in noise units, in
hundredths. Left out are series that are nearly constant, whose unit is the resolution of their clock.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from kswatch.ci.simulation.labelled_series import LabelledSeries, read_labelled_series
from kswatch.ci.simulation.residuals import NIGHTS, PACKED, STEP

MIN_UNIT = 0.003
"""Of the level: below it a series counts as nearly constant."""
MOST_UNITS = 12.0
"""Noise units at which a residual is clipped: a few nights of the origin stalled for minutes."""


def stretches(of: LabelledSeries) -> list[np.ndarray]:
    """The residuals of a series in stretches of `NIGHTS`, in noise units."""
    if not of.noise_unit > MIN_UNIT * float(np.nanmedian(of.values)):
        return []
    units = np.clip(of.residuals / of.noise_unit, -MOST_UNITS, MOST_UNITS)
    parts = [units[first : first + NIGHTS] for first in range(0, len(units) - NIGHTS + 1, NIGHTS)]
    return [part for part in parts if np.isfinite(part).all()]


def main() -> None:
    rows = [row for one in read_labelled_series(Path(sys.argv[1])) for row in stretches(one)]
    np.savez_compressed(PACKED, units=np.round(np.array(rows) / STEP).astype(np.int16))
    print(f"{len(rows)} stretches of {NIGHTS} nights, {PACKED.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

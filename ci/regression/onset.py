"""The onset of a finding: a significant change may have been present, unnoticed, on earlier nights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kswatch.ci.regression.history import JudgingInputs
from kswatch.ci.regression.significance import EARLIER_NIGHTS
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.alerts.causes import LEVEL_CAUSES
from kswatch.db.queries.regression_inputs import PriorNight

ONSET_SHARE = 0.5
"""Share of the newest night's change from which an earlier night counts as bad."""


def find_onset(
    inputs: JudgingInputs, verdicts: Sequence[SeriesVerdict]
) -> tuple[PriorNight | None, PriorNight | None]:
    """The last good night, and the first bad one before the newest night, if any.

    Nights before those that support a finding are good by definition. A night on which none of the series was
    measured is neither.
    """
    if not inputs.nights or verdicts[0].cause not in LEVEL_CAUSES:
        return inputs.night_before, None
    row_of = {series.key: row for row, series in enumerate(inputs.series)}
    judged = [one for one in verdicts if one.level and one.change]
    rows = [row_of[one.key] for one in judged]
    level, change = (np.array([getattr(one, name) for one in judged], float) for name in ("level", "change"))
    first_bad = None
    newest_first = inputs.past.value[rows, ::-1].T
    for night, values in zip(inputs.nights[::-1][:EARLIER_NIGHTS], newest_first, strict=False):
        share = (values / level - 1) / change
        share = share[np.isfinite(share)]
        if len(share) and np.median(share) < ONSET_SHARE:
            return night, first_bad
        first_bad = night if len(share) else first_bad
    before_holdout = inputs.nights[:-EARLIER_NIGHTS]
    return (before_holdout[-1] if before_holdout else None), first_bad


def deviating_since(inputs: JudgingInputs, verdict: SeriesVerdict, run_id: int) -> bool:
    """Whether the series deviated by half of its present change on most nights from that run on."""
    since = [column for column, night in enumerate(inputs.nights) if night.run_id >= run_id]
    if not since or not verdict.level or not verdict.change:
        return False
    row = next(row for row, series in enumerate(inputs.series) if series.key == verdict.key)
    share = (inputs.past.value[row, since] / verdict.level - 1) / verdict.change
    share = share[np.isfinite(share)]
    return bool(len(share)) and float(np.median(share)) >= ONSET_SHARE

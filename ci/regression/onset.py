"""When a finding began: a change that stands out tonight may have been there on the nights before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kswatch.ci.regression.families import Series
from kswatch.ci.regression.history import LEVEL_CAUSES, Evidence
from kswatch.ci.regression.significance import WITNESSES
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.queries.regression_inputs import Night

BEGUN = 0.5
"""Of tonight's change: a night on which the series were out by that much was bad already."""


def began(evidence: Evidence, verdicts: Sequence[SeriesVerdict]) -> tuple[Night | None, Night | None]:
    """The last good night, and the first bad one before tonight if there was any.

    Nights before the witnesses make the level, so that they are good by definition. A night on which none of
    the series was measured is neither.
    """
    if not evidence.nights or verdicts[0].cause not in LEVEL_CAUSES:
        return evidence.night_before, None
    row_of = {(one.cell_id, one.metric): row for row, one in enumerate(evidence.series)}
    judged = [one for one in verdicts if one.level and one.change]
    rows = [row_of[one.series.cell_id, one.series.metric] for one in judged]
    level, change = (np.array([getattr(one, name) for one in judged], float) for name in ("level", "change"))
    first_bad = None
    newest_first = evidence.past.value[rows, ::-1].T
    for night, values in zip(evidence.nights[::-1][:WITNESSES], newest_first, strict=False):
        share = (values / level - 1) / change
        share = share[np.isfinite(share)]
        if len(share) and np.median(share) < BEGUN:
            return night, first_bad
        first_bad = night if len(share) else first_bad
    apart = evidence.nights[:-WITNESSES]
    return (apart[-1] if apart else None), first_bad


def out_since(evidence: Evidence, verdict: SeriesVerdict, run_id: int) -> bool:
    """Whether the series was out by half of tonight's change on most nights from that run on."""
    since = [column for column, night in enumerate(evidence.nights) if night.run_id >= run_id]
    if not since or not verdict.level or not verdict.change:
        return False
    row = next(row for row, one in enumerate(evidence.series) if _is(one, verdict))
    share = (evidence.past.value[row, since] / verdict.level - 1) / verdict.change
    share = share[np.isfinite(share)]
    return bool(len(share)) and float(np.median(share)) >= BEGUN


def _is(series: Series, verdict: SeriesVerdict) -> bool:
    return (series.cell_id, series.metric) == (verdict.series.cell_id, verdict.series.metric)

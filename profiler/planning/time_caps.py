"""Time caps of problems, so that a suite with a time limit keeps it on a busy machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kswatch.profiler.planning.budget import TimeBudget
from kswatch.profiler.planning.priority_order import WorkUnit
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.problems import ModelForward

_CELL_SHARES = 2
"""A cell may take this many equal shares of its problem: fast cells finish early and leave time over."""
MODEL_SHARES = 2.0
"""Time for a model, in units of that for a product or a layer."""


def shares(units: Iterable[WorkUnit]) -> float:
    """The time for these units, in units of that for a product."""
    return sum(MODEL_SHARES if isinstance(unit.problem, ModelForward) else 1.0 for unit in units)


class TimeCaps:
    """Caps of the next problem from the time left for all; none without a time limit.

    The overhead of a problem (operands, checks, warm-up) depends on the machine: it is estimated from the
    previous problems, and assumed to be half of the time for the first one.
    """

    def __init__(self, settings: MeasureSettings, whole: TimeBudget) -> None:
        """Divide `whole`, which starts now, between all problems."""
        self._settings = settings
        self._whole = whole
        self._granted_s = 0.0
        self._shares = 0.0

    def next_settings(self, left: Sequence[WorkUnit]) -> MeasureSettings:
        """Settings of the first of these units; time that a unit did not use is shared by the rest."""
        is_model = isinstance(left[0].problem, ModelForward)
        settings = self._settings.for_models() if is_model else self._settings
        if self._whole.limit_s is None:
            return settings
        own = shares(left[:1])
        share_s = self._whole.left_s * own / shares(left)
        overhead_s = max(0.0, self._whole.spent_s - self._granted_s) * own / max(self._shares, 1.0)
        granted_s = max(0.0, share_s - overhead_s) if self._shares else share_s / 2
        self._granted_s += granted_s
        self._shares += own
        cell_s = _CELL_SHARES * granted_s / len(left[0].implementations)
        return replace(
            settings,
            problem_cap_ms=min(settings.problem_cap_ms, 1e3 * granted_s),
            cell_cap_ms=min(settings.cell_cap_ms, 1e3 * cell_s),
        )

"""Time caps of problems, so that a suite with a time limit keeps it on a busy machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from statistics import mean

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


def kind_of(unit: WorkUnit) -> str:
    """What the overhead of a unit depends on most: its model, or that it is a product or a layer."""
    return getattr(unit.problem, "model", type(unit.problem).__name__)


class TimeCaps:
    """Caps of the next problem from the time left for all; none without a time limit.

    The problems share what their overhead (operands, checks, warm-up) leaves. That depends on the machine and
    on the model: it is estimated from the previous problems of the same kind. The first one of a kind is
    assumed to need half of its time, or the least overhead of any other problem.
    """

    def __init__(self, settings: MeasureSettings, whole: TimeBudget) -> None:
        """Divide `whole`, which starts now, between all problems."""
        self._settings = settings
        self._whole = whole
        self._overheads_s: defaultdict[str, list[float]] = defaultdict(list)
        self._running: tuple[str, float] | None = None

    def next_settings(self, left: Sequence[WorkUnit]) -> MeasureSettings:
        """Settings of the first of these units; time that a unit did not use is shared by the rest."""
        settings = self._settings
        if isinstance(left[0].problem, ModelForward):
            settings = settings.for_models()
        if self._whole.limit_s is None:
            return settings
        self._end_running()
        for_timing_s = self._whole.left_s - sum(self._overhead_s(unit, left) for unit in left)
        granted_s = max(0.0, for_timing_s) * shares(left[:1]) / shares(left)
        self._running = kind_of(left[0]), self._whole.spent_s + granted_s
        cell_s = _CELL_SHARES * granted_s / len(left[0].implementations)
        return replace(
            settings,
            problem_cap_ms=min(settings.problem_cap_ms, 1e3 * granted_s),
            cell_cap_ms=min(settings.cell_cap_ms, 1e3 * cell_s),
        )

    def _overhead_s(self, unit: WorkUnit, left: Sequence[WorkUnit]) -> float:
        if known := self._overheads_s.get(kind_of(unit)):
            return mean(known)
        half_s = self._whole.left_s * shares([unit]) / shares(left) / 2
        return min([half_s, *chain.from_iterable(self._overheads_s.values())])

    def _end_running(self) -> None:
        """Record the overhead of the unit that ended: what it took beyond the time granted to its cells."""
        if self._running:
            kind, expected_end_s = self._running
            self._overheads_s[kind].append(max(0.0, self._whole.spent_s - expected_end_s))

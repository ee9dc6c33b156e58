"""Time caps of problems, so that a suite with a time limit keeps it on a busy machine."""

from __future__ import annotations

from dataclasses import replace

from kswatch.profiler.planning.budget import TimeBudget
from kswatch.profiler.settings import MeasureSettings

_CELL_SHARES = 2
"""A cell may take this many equal shares of its problem: fast cells finish early and leave time over."""


class TimeCaps:
    """Caps of the next problem from the time left for all; none without a time limit.

    The overhead of a problem (operands, checks, warm-up) depends on the machine: it is estimated from the
    previous problems, and assumed to be half of the time for the first one.
    """

    def __init__(self, settings: MeasureSettings, implementations: int, whole: TimeBudget) -> None:
        """Divide `whole`, which starts now, between all problems."""
        self._settings = settings
        self._implementations = implementations
        self._whole = whole
        self._granted_s = 0.0
        self._problems = 0

    def next_settings(self, problems_left: int) -> MeasureSettings:
        """Settings of the next problem; time that a problem did not use is shared by the rest."""
        if self._whole.limit_s is None:
            return self._settings
        share_s = self._whole.left_s / problems_left
        overhead_s = max(0.0, self._whole.spent_s - self._granted_s) / max(self._problems, 1)
        granted_s = max(0.0, share_s - overhead_s) if self._problems else share_s / 2
        self._granted_s += granted_s
        self._problems += 1
        cell_s = _CELL_SHARES * granted_s / self._implementations
        return replace(
            self._settings,
            problem_cap_ms=min(self._settings.problem_cap_ms, 1e3 * granted_s),
            cell_cap_ms=min(self._settings.cell_cap_ms, 1e3 * cell_s),
        )

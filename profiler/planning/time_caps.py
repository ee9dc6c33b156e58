"""How long each problem may take, so that a suite that should be short stays so on a busy machine."""

from __future__ import annotations

from dataclasses import replace

from kswatch.profiler.planning.budget import Budget
from kswatch.profiler.settings import MeasureSettings

_CELL_SHARES = 2
"""A cell may take so many equal shares of its problem: fast ones end early and leave it theirs."""


class Pace:
    """Caps for the next problem from the time that is left for all; none where nothing was promised.

    Beside its visits a problem takes time for operands, checks and warm-up, which depends on the
    machine: it is taken from the problems before, and assumed to be half for the first one.
    """

    def __init__(self, settings: MeasureSettings, implementations: int, whole: Budget) -> None:
        """Share `whole`, which begins now, between all problems."""
        self._settings = settings
        self._implementations = implementations
        self._whole = whole
        self._granted_s = 0.0
        self._problems = 0

    def of_next(self, problems_left: int) -> MeasureSettings:
        """How to measure the next of the problems left: time that one did not use is shared by the rest."""
        if self._whole.limit_s is None:
            return self._settings
        share_s = self._whole.left_s / problems_left
        beside_s = max(0.0, self._whole.spent_s - self._granted_s) / max(self._problems, 1)
        granted_s = max(0.0, share_s - beside_s) if self._problems else share_s / 2
        self._granted_s += granted_s
        self._problems += 1
        cell_s = _CELL_SHARES * granted_s / self._implementations
        return replace(
            self._settings,
            problem_cap_ms=min(self._settings.problem_cap_ms, 1e3 * granted_s),
            cell_cap_ms=min(self._settings.cell_cap_ms, 1e3 * cell_s),
        )

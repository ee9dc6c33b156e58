"""Durations as text, and the time budget of a run."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from kswatch.errors import UsageError

LONGEST_S = 366 * 86_400.0
_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_seconds(text: str) -> float:
    """The duration written as `90s`, `8m`, `3h` or `1h30m`, in seconds.

    Raises:
        UsageError: the text is no such duration, not longer than 0, or longer than a year.
    """
    match = _PARTS.fullmatch(text.strip())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    total_s = 3600 * hours + 60 * minutes + seconds
    if not 0 < total_s <= LONGEST_S:
        raise UsageError(
            f"budget {text[:60]!r} is not a duration of up to a year; write it as 90s, 8m, 3h or 1h30m"
        )
    return total_s


def as_text(seconds: float) -> str:
    """A duration in readable form: `45 s`, `2 min 5 s`, `3 h 20 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min" if whole % 3600 >= 60 else f"{whole // 3600} h"


class TimeBudget:
    """Wall time that a run may spend, counted from creation; unlimited without a limit.

    `spent_s` was spent before.
    """

    def __init__(
        self, limit_s: float | None, clock: Callable[[], float] = time.monotonic, spent_s: float = 0.0
    ) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._started_s = clock() - spent_s

    @property
    def spent_s(self) -> float:
        """Seconds since creation, and those before."""
        return self._clock() - self._started_s

    @property
    def left_s(self) -> float:
        """Seconds left; infinite without a limit."""
        return float("inf") if self.limit_s is None else max(0.0, self.limit_s - self.spent_s)

    def holds(self, needed_s: float) -> bool:
        """Whether an activity of this expected duration still fits."""
        return self.left_s > 0 and needed_s <= self.left_s

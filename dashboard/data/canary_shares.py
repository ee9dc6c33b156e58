"""The canaries of a run against the runs before it: whether the machine is what it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from kswatch.dashboard.formatting.labels import share

FEWEST_EARLIER = 3
"""Runs before the newest one that a median needs."""


@dataclass(frozen=True)
class CanaryShare:
    """The rate of one canary in a run, as a share of its median over earlier runs."""

    canary: str
    median: float
    lowest: float
    highest: float

    @property
    def text(self) -> str:
        """The share, with the spread of the readings within the run."""
        spread = f" ({share(self.lowest, 1)} to {share(self.highest, 1)} within the run)"
        return f"{self.canary} {share(self.median, 1)}" + spread * (self.lowest < self.highest)


def canary_shares(readings: Iterable[tuple[int, str, float]], newest: int) -> list[CanaryShare]:
    """The shares of a run's canaries; none of a canary with fewer than `FEWEST_EARLIER` earlier runs.

    Args:
        readings: run id, canary and rate of readings of the newest run and of earlier ones.
        newest: the id of the newest run.
    """
    by_canary: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run_id, canary, rate in readings:
        by_canary[canary][run_id].append(rate)
    found = []
    for canary, by_run in by_canary.items():
        own = by_run.pop(newest, [])
        if own and len(by_run) >= FEWEST_EARLIER:
            level = median(median(rates) for rates in by_run.values())
            shares = [rate / level for rate in own] if level else []
            if shares:
                found.append(CanaryShare(canary, median(shares), min(shares), max(shares)))
    return found

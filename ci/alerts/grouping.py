"""Grouping of a night's verdicts by their likely cause, so that one cause makes one alert."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kswatch.ci.regression.attribution import NEVER_ALERTED
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.metrics import SPEEDUPS
from kswatch.db.records import ProblemKey

SEVERAL = "several"
"""The implementation of an alert whose cause lies in no single one."""

GroupKey = tuple[str, str, str, str]
"""Implementation, metric, verdict, cause."""


@dataclass
class VerdictGroup:
    """Verdicts of one night with one likely cause, the worst first."""

    implementation: str
    metric: str
    verdict: str
    cause: str
    verdicts: list[SeriesVerdict] = field(default_factory=list)

    @property
    def key(self) -> GroupKey:
        """The identity of the group's cause."""
        return (self.implementation, self.metric, self.verdict, self.cause)

    @property
    def leading(self) -> list[SeriesVerdict]:
        """The verdicts in the group's own metric: one for each problem."""
        return [one for one in self.verdicts if one.metric == self.metric] or self.verdicts

    @property
    def confirmed(self) -> bool:
        """Whether any of the verdicts is confirmed."""
        return any(one.confirmed for one in self.verdicts)

    @property
    def worth_an_alert(self) -> bool:
        """Whether any of the verdicts is significant or confirmed."""
        return any(one.confirmed or one.significant for one in self.verdicts)

    @property
    def problems(self) -> list[ProblemKey]:
        """The problems, the worst first."""
        return list(dict.fromkeys(one.problem for one in self.verdicts))


def group_verdicts(verdicts: Iterable[SeriesVerdict]) -> list[VerdictGroup]:
    """Group the verdicts that moved; those caused by noise of the machine are left out.

    Speedup and energy join the latency of the same implementation where that moved in the same direction. A
    speedup that changed with a baseline joins that baseline's latency, and is left out where none moved. All
    verdicts of a changed machine or of a new environment are one group.
    """
    moved = [one for one in verdicts if one.moved and one.cause not in NEVER_ALERTED]
    latencies = [one for one in moved if one.metric == "latency_ms"]
    names = {(one.implementation, one.verdict) for one in latencies}
    baselines = {(one.problem, str(one.verdict)): one for one in latencies if one.cause == "baseline"}
    groups: dict[GroupKey, VerdictGroup] = {}
    for one in sorted(moved, key=_worst_first):
        key = _key(one, names, baselines)
        if key is not None:
            groups.setdefault(key, VerdictGroup(*key)).verdicts.append(one)
    found = list(groups.values())
    code = [one for one in found if one.cause not in ("environment", "canary")]
    of_machine = ([one for one in found if one.cause == cause] for cause in ("environment", "canary"))
    return [*code, *(_merged(parts) for parts in of_machine if parts)]


def _worst_first(verdict: SeriesVerdict) -> tuple[float, GroupKey]:
    return (-abs(verdict.change or 0.0), (str(verdict.problem), verdict.implementation, verdict.metric, ""))


def _key(
    verdict: SeriesVerdict,
    names: Collection[tuple[str, str]],
    baselines: Mapping[tuple[ProblemKey, str], SeriesVerdict],
) -> GroupKey | None:
    """The group that the verdict belongs to; None where it is left out.

    `names` holds the implementations whose latency moved with the direction, `baselines` the latency verdicts
    of baselines by problem and direction.
    """
    direction, cause = verdict.verdict, str(verdict.cause)
    if cause == "baseline" and verdict.metric in SPEEDUPS:
        opposite = "faster" if direction == "slower" else "slower"
        baseline = baselines.get((verdict.problem, opposite))
        return (baseline.implementation, "latency_ms", opposite, cause) if baseline else None
    name = verdict.implementation
    return (name, "latency_ms" if (name, direction) in names else verdict.metric, direction, cause)


def _merged(parts: Sequence[VerdictGroup]) -> VerdictGroup:
    """The groups of a cause outside the code as one, with the direction of most verdicts."""
    verdicts = sorted((one for part in parts for one in part.verdicts), key=_worst_first)
    slower = sum(one.verdict == "slower" for one in verdicts)
    names = {one.implementation for one in verdicts}
    return VerdictGroup(
        implementation=names.pop() if len(names) == 1 else SEVERAL,
        metric="latency_ms",
        verdict="slower" if 2 * slower >= len(verdicts) else "faster",
        cause=parts[0].cause,
        verdicts=verdicts,
    )

"""One cause, one alert: which of a night's verdicts belong together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from kswatch.ci.regression.attribution import NEVER_TOLD, Cause
from kswatch.ci.regression.verdicts import SeriesVerdict
from kswatch.db.records import ProblemKey

SEVERAL = "several"
"""The implementation of an alert whose cause lies in no single one."""

Key = tuple[str, str, str, str]
"""Implementation, metric, verdict, cause."""


@dataclass
class Group:
    """Verdicts of one night with one likely cause, the worst first."""

    implementation: str
    metric: str
    verdict: str
    cause: str
    verdicts: list[SeriesVerdict] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """What two groups of the same cause have in common."""
        return (self.implementation, self.metric, self.verdict, self.cause)

    @property
    def leading(self) -> list[SeriesVerdict]:
        """The verdicts in the group's own metric: one for each problem."""
        return [one for one in self.verdicts if one.series.metric == self.metric] or self.verdicts

    @property
    def confirmed(self) -> bool:
        """Whether any of the verdicts is confirmed."""
        return any(one.confirmed for one in self.verdicts)

    @property
    def worth_an_alert(self) -> bool:
        """Whether any of the verdicts is more than what chance finds among so many series."""
        return any(one.confirmed or one.significant for one in self.verdicts)

    @property
    def problems(self) -> list[ProblemKey]:
        """The problems, the worst first."""
        return list(dict.fromkeys(one.series.problem for one in self.verdicts))


def group(verdicts: Iterable[SeriesVerdict]) -> list[Group]:
    """Group what moved; noise of the machine is never told.

    Speedup and energy follow the time of the same implementation where that moved the same way; a
    speedup that changed with a baseline follows that baseline, and is not told where none moved. What came
    with a moved machine or a new environment is one group, whatever it touched.
    """
    moved = [one for one in verdicts if one.moved and one.cause not in NEVER_TOLD]
    times = [one for one in moved if one.series.metric == "latency_ms"]
    names = {(one.series.implementation, one.verdict) for one in times}
    baselines = {(one.series.problem, str(one.verdict)): one for one in times if one.cause == "baseline"}
    groups: dict[Key, Group] = {}
    for one in sorted(moved, key=_worst_first):
        key = _key(one, names, baselines)
        if key is not None:
            groups.setdefault(key, Group(*key)).verdicts.append(one)
    machine = [_merged(cause, groups) for cause in ("environment", "canary")]
    code = [found for found in groups.values() if found.cause not in ("environment", "canary")]
    return [*code, *(found for found in machine if found)]


def _worst_first(verdict: SeriesVerdict) -> tuple[float, Key]:
    series = verdict.series
    return (-abs(verdict.change or 0.0), (str(series.problem), series.implementation, series.metric, ""))


def _key(
    verdict: SeriesVerdict,
    names: Collection[tuple[str, str]],
    baselines: Mapping[tuple[ProblemKey, str], SeriesVerdict],
) -> Key | None:
    """What the verdict is grouped by, if it is told.

    `names` says which implementations' times moved which way, `baselines` which baseline's on each problem.
    """
    series, word, cause = verdict.series, verdict.verdict, str(verdict.cause)
    if cause == "baseline" and series.metric == "speedup":
        opposite = "faster" if word == "slower" else "slower"
        baseline = baselines.get((series.problem, opposite))
        return (baseline.series.implementation, "latency_ms", opposite, cause) if baseline else None
    name = series.implementation
    return (name, "latency_ms" if (name, word) in names else series.metric, word, cause)


def _merged(cause: Cause, groups: dict[Key, Group]) -> Group | None:
    """All groups of a cause that lies outside the code as one, named after the larger direction."""
    parts = [found for found in groups.values() if found.cause == cause]
    if not parts:
        return None
    verdicts = sorted((one for part in parts for one in part.verdicts), key=_worst_first)
    slower = sum(one.verdict == "slower" for one in verdicts)
    names = {one.series.implementation for one in verdicts}
    return Group(
        implementation=names.pop() if len(names) == 1 else SEVERAL,
        metric="latency_ms",
        verdict="slower" if 2 * slower >= len(verdicts) else "faster",
        cause=cause,
        verdicts=verdicts,
    )

"""Reads of the sets of baselines that runs were compared with, their libraries, and what is in no set."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, NamedTuple

from sqlalchemy import Select, select

from kswatch.db.metrics import METRIC_BY_NAME
from kswatch.db.records import ALL, EXPERT, FOREIGN, RIVALS
from kswatch.db.schema.tables import BaselineSet, Cell, Measurement, Run
from kswatch.db.store import Store
from kswatch.db.writes.baseline_sets import NOT_MEASURED


@dataclass(frozen=True)
class RunSets:
    """The sets of baselines of one run."""

    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The sorted members of each set; empty for a run of an earlier version."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """Why each rival that could not be had is no member of `expert`."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    """The libraries of each rival that was installed, as `lazylinop 1.24.28, pyopencl 2026.1.4`."""

    @property
    def headline(self) -> str:
        """The set that the headline is against: `expert` where the run has it."""
        return EXPERT if EXPERT in self.members else ALL

    @property
    def rivals(self) -> tuple[str, ...]:
        """The rivals that could be had."""
        return tuple(name for name in RIVALS if name in self.members.get(EXPERT, ()))

    @property
    def missing(self) -> dict[str, str]:
        """Why each of the other rivals is no member."""
        return {name: self.absent.get(name, NOT_MEASURED) for name in RIVALS if name not in self.rivals}

    @property
    def in_words(self) -> str:
        """The rivals that were there, with their libraries, and those that were not, with the reasons."""
        return rivals_in_words({name: self.libraries.get(name, "") for name in self.rivals}, self.missing)


def rivals_in_words(there: Mapping[str, str], missing: Mapping[str, str]) -> str:
    """Which rivals were there, as `compiled (torch 2.13.0)`, and which not, as `triton (not installed)`."""
    listed = (_named(name, text) for name, text in there.items())
    not_there = (_named(name, reason.split(":")[0]) for name, reason in missing.items())
    return f"rivals there: {', '.join(listed) or 'none'}; not there: {', '.join(not_there) or 'none'}"


def _named(name: str, text: str) -> str:
    return f"{name} ({text})" if text else name


def run_sets(store: Store, run_ids: Collection[int]) -> dict[int, RunSets]:
    """The sets of baselines of each of these runs, by its id."""
    sets = select(BaselineSet.run_id, BaselineSet.name, BaselineSet.members, BaselineSet.absent)
    members: dict[int, dict[str, tuple[str, ...]]] = {}
    absent: dict[int, dict[str, str]] = {}
    with store.session() as session:
        for run_id, name, joined, reasons in session.execute(sets.where(BaselineSet.run_id.in_(run_ids))):
            members.setdefault(run_id, {})[name] = tuple(filter(None, joined.split(",")))
            if name == EXPERT:
                absent[run_id] = {rival: str(reason) for rival, reason in (reasons or {}).items()}
        libraries = session.execute(select(Run.id, Run.libraries).where(Run.id.in_(run_ids))).all()
    return {
        run_id: RunSets(
            members.get(run_id, {}),
            absent.get(run_id, {}),
            {rival: versions_in_words(versions) for rival, versions in (of or {}).items()},
        )
        for run_id, of in libraries
    }


def runs_with_set_of(run_id: int) -> Select:
    """The runs whose expert set has the same members as that of this run."""
    own = select(BaselineSet.members).where(BaselineSet.run_id == run_id, BaselineSet.name == EXPERT)
    return select(BaselineSet.run_id).where(
        BaselineSet.name == EXPERT, BaselineSet.members == own.scalar_subquery()
    )


def versions_in_words(versions: object) -> str:
    """Libraries with their versions, as `lazylinop 1.24.28, pyopencl 2026.1.4`."""
    if isinstance(versions, Mapping):
        return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return str(versions)


class BaselineChange(NamedTuple):
    """A change of the baselines that a series depends on."""

    cause: Literal["baseline_set", "library"]
    words: str
    """As `library version changed: triton 3.4.0 -> 3.5.0`."""


@dataclass(frozen=True)
class SeriesBasis:
    """The baselines that one point of a series was measured with."""

    members: tuple[str, ...]
    libraries: tuple[tuple[str, str], ...]
    """By rival."""


def basis_of(sets: RunSets, implementation: str, metric: str) -> SeriesBasis | None:
    """The baselines behind a series in a run; None where the series depends on none that may change."""
    if METRIC_BY_NAME[metric].baselines == EXPERT:
        members = sets.members.get(EXPERT, ())
        return SeriesBasis(members, tuple((name, sets.libraries.get(name, "")) for name in sets.rivals))
    if implementation in RIVALS:
        return SeriesBasis((implementation,), ((implementation, sets.libraries.get(implementation, "")),))
    return None


def change_between(before: SeriesBasis, after: SeriesBasis) -> BaselineChange | None:
    """What changed between two points of a series; None where nothing did."""
    if before.members != after.members:
        new, lost = (
            set(one.members) - set(other.members) for one, other in ((after, before), (before, after))
        )
        parts = [
            f"{word} {', '.join(sorted(names))}"
            for word, names in (("with", new), ("without", lost))
            if names
        ]
        return BaselineChange("baseline_set", f"baseline set changed: now {', '.join(parts)}")
    was, now = dict(before.libraries), dict(after.libraries)
    changed = [
        f"{was[name] or 'unknown'} -> {now[name] or 'unknown'}" for name in now if was[name] != now[name]
    ]
    return BaselineChange("library", f"library version changed: {'; '.join(changed)}") if changed else None


def change_of_runs(
    before: RunSets, after: RunSets, implementation: str, metric: str
) -> BaselineChange | None:
    """What changed in the baselines of a series between two runs; None where nothing did."""
    was, now = (basis_of(sets, implementation, metric) for sets in (before, after))
    return change_between(was, now) if was and now else None


@dataclass(frozen=True)
class ForeignResult:
    """One foreign implementation in one run."""

    library: str
    """The distribution or the file that it comes from, with its version."""
    by_status: dict[str, int]
    median_ratio_to_fused: float | None
    """The median of its latencies over those of `fused`; None where they were not measured together."""
    reason: str | None
    """Of the first cell that has one."""


def foreign_results(store: Store, run_id: int) -> dict[str, ForeignResult]:
    """What the run gave for each foreign implementation, by its name without the marker."""
    query = (
        select(Cell.implementation, Measurement.status, Measurement.ratio_to_fused, Measurement.reason)
        .join(Cell, Cell.id == Measurement.cell_id)
        .where(Measurement.run_id == run_id, Measurement.mode != "hot")
        .where(Cell.implementation.startswith(FOREIGN, autoescape=True))
        .order_by(Measurement.cell_id)
    )
    cells: dict[str, list[Any]] = defaultdict(list)
    with store.session() as session:
        for row in session.execute(query):
            cells[row.implementation].append(row)
        libraries = session.scalar(select(Run.libraries).where(Run.id == run_id)) or {}
    return {
        name.removeprefix(FOREIGN): _result(versions_in_words(libraries.get(name, {})), rows)
        for name, rows in sorted(cells.items())
    }


def _result(library: str, rows: Sequence[Any]) -> ForeignResult:
    ratios = [row.ratio_to_fused for row in rows if row.ratio_to_fused is not None]
    return ForeignResult(
        library,
        dict(Counter(row.status for row in rows)),
        median(ratios) if ratios else None,
        next((row.reason for row in rows if row.reason), None),
    )

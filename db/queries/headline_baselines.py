"""The baselines that a headline is against: those of a named set, of the newest run, or single ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select

from kswatch.db.queries.baseline_sets import RunSets, run_sets
from kswatch.db.queries.runs import find_device, run, run_filters
from kswatch.db.records import BASELINE_SETS, EXPERT, RIVALS
from kswatch.db.schema.tables import BaselineSet, Run
from kswatch.db.store import Store
from kswatch.db.writes.measurements import held_implementations
from kswatch.errors import UsageError

NOT_IN_SET = "not in this set"

SUMMARISED_KINDS: tuple[str, ...] = ("nightly", "ad_hoc", "import")
"""Confirmation, gate and bisect runs are selected samples or other revisions: only --run reads them."""


@dataclass(frozen=True)
class HeadlineBaselines:
    """The baselines of a headline, and which rivals were there."""

    set_name: str | None
    """None for single baselines."""
    members: tuple[str, ...]
    run_id: int | None
    """The run whose set it is; None for single baselines, and where no run has the set."""
    sets: RunSets

    @property
    def is_expert(self) -> bool:
        """Whether it is the expert set that `run_id` had."""
        return self.set_name == EXPERT and EXPERT in self.sets.members

    @property
    def rivals(self) -> dict[str, str]:
        """The rivals among the members, with their libraries."""
        return {name: self.sets.libraries.get(name, "") for name in RIVALS if name in self.members}

    @property
    def rivals_missing(self) -> dict[str, str]:
        """Why each other rival is no member; empty for single baselines."""
        if self.set_name is None:
            return {}
        reasons = dict.fromkeys(RIVALS, NOT_IN_SET) | self.sets.missing
        return {name: reason for name, reason in reasons.items() if name not in self.members}


def choose_baselines(
    store: Store, device: str | None = None, *, run_id: int | None = None, named: str | None = None
) -> HeadlineBaselines:
    """The baselines by the text of `--baselines`: a set, names with commas between, or None.

    None is the set of the newest run on the device, or of `run_id`: `expert` where the run measured rivals.

    Raises:
        UsageError: no or several such devices, no such run, or no such set or baseline.
    """
    found = find_device(store, device if run_id is None or device else run(store, run_id).device_uuid)
    newest = run_id or _newest(store, found.id)
    sets = _sets_of(store, newest)
    name = sets.headline if named is None else named.strip()
    if name not in BASELINE_SETS:
        return HeadlineBaselines(None, _single(name), None, sets)
    if name == EXPERT and EXPERT not in sets.members and run_id is None:
        newest = _newest(store, found.id, with_rivals=True)
        sets = _sets_of(store, newest)
    with store.session() as session:
        held = held_implementations(session.connection(), found.id, run_id)
    had = {*held, *sets.rivals}
    members = tuple(one for one in BASELINE_SETS[name] if one in had)
    return HeadlineBaselines(name, members, newest, sets)


def _sets_of(store: Store, run_id: int | None) -> RunSets:
    return RunSets() if run_id is None else run_sets(store, [run_id]).get(run_id, RunSets())


def _single(text: str) -> tuple[str, ...]:
    """The named baselines, each once."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    require_known(names)
    return names


def require_known(names: Collection[str]) -> None:
    """Refuse names of no baseline.

    Raises:
        UsageError: one is unknown; the message lists sets and baselines.
    """
    known = BASELINE_SETS[EXPERT]
    for name in names:
        if name not in known:
            raise UsageError(
                f"unknown baseline {name!r}; choose from {', '.join(known)}, "
                f"or a set: {', '.join(BASELINE_SETS)}"
            )


def _newest(store: Store, device_id: int, with_rivals: bool = False) -> int | None:
    """The device's newest ended run that summaries read, or the newest of those with rivals."""
    query = select(func.max(Run.id)).where(*run_filters(device_id, SUMMARISED_KINDS, None))
    query = query.where(Run.state != "running")
    if with_rivals:
        of_run = (BaselineSet.run_id == Run.id, BaselineSet.name == EXPERT)
        query = query.where(select(BaselineSet.run_id).where(*of_run).exists())
    with store.session() as session:
        return session.scalar(query)

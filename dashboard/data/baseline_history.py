"""The runs whose headlines can be compared: those against the same members with the same libraries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from kswatch.db.queries.baseline_sets import BaselineChange, RunSets, change_of_runs
from kswatch.db.records import ALL, EXPERT, FUSED


def set_or_all(sets: Mapping[int, RunSets], run_id: int, baselines: str) -> str:
    """The chosen set of baselines, or that of stock torch for a run that measured no rivals."""
    held = sets.get(run_id, RunSets()).members
    return ALL if baselines == EXPERT and EXPERT not in held else baselines


def runs_since_change(sets: Mapping[int, RunSets], run_ids: Sequence[int], baselines: str) -> tuple[int, ...]:
    """The newest of these runs, the oldest first, back to the last change of the chosen set."""
    changes = dict(baseline_changes(sets, run_ids, baselines))
    last = max(changes, default=run_ids[0] if run_ids else 0)
    return tuple(run_id for run_id in run_ids if run_id >= last)


def baseline_changes(
    sets: Mapping[int, RunSets], run_ids: Sequence[int], baselines: str
) -> Iterator[tuple[int, BaselineChange]]:
    """Each run whose set has changed since the run before it; runs without the set are passed over."""
    if baselines != EXPERT:
        return
    held = [run_id for run_id in run_ids if run_id in sets and EXPERT in sets[run_id].members]
    for before, after in pairwise(held):
        change = change_of_runs(sets[before], sets[after], FUSED, "speedup_expert")
        if change is not None:
            yield after, change

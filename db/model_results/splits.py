"""How a model's gain over its dense variant splits into structure and kernel: arithmetic on stored cells.

Structure gain: the dense model over the structure by the one baseline that is fastest for the whole model.
Kernel gain: that over the structure by `fused`. Both are of the same rounds: their product is the total.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kswatch.db.records import (
    BASELINE_SETS,
    CANNOT_COMPETE,
    COMPARABLE,
    DENSE_AS_PUBLISHED,
    DENSE_FAIR,
    EXPERT,
    FUSED,
    cell_name,
)
from kswatch.declared.implementations import names_in_chains
from kswatch.errors import UsageError

ModelRow = Any
"""A row of a model's cell with the columns of `kswatch.db.model_results.reads.MODEL_COLUMNS`."""

NOT_IN_MODELS = frozenset(BASELINE_SETS[EXPERT]) - frozenset(names_in_chains())
"""Baselines of products, not of models: dense is a variant, the others compute one product alone."""


@dataclass(frozen=True)
class Gain:
    """A ratio of latencies; above 1 is a gain."""

    value: float
    low: float | None = None
    high: float | None = None
    """The 95 % interval; None where the ratio is one of medians."""

    def over(self, other: Gain) -> Gain:
        """This over another ratio to the same cell, with an interval that covers both of theirs."""
        known = self.low and self.high and other.low and other.high
        if not known:
            return Gain(self.value / other.value)
        return Gain(self.value / other.value, self.low / other.high, self.high / other.low)  # type: ignore[operator]


@dataclass(frozen=True)
class Split:
    """The gain of one structure of a model; the gains are None with the reason in `left_out`."""

    structure: str
    baselines: str
    """The name of the set."""
    members: tuple[str, ...]
    """Those of the set that the run holds."""
    baseline: str | None = None
    """The one that is fastest for the whole model."""
    dense: str | None = None
    """The dense cell that both gains refer to: the fair one where it was measured."""
    structure_gain: Gain | None = None
    kernel_gain: Gain | None = None
    total_gain: Gain | None = None
    over_published: Gain | None = None
    """The dense model as its authors wrote it, over the structure by `fused`."""
    left_out: str | None = None

    @property
    def basis(self) -> tuple[str | None, tuple[str, ...], str | None]:
        """What must be equal for two splits to be points of one series."""
        return (self.baseline, self.members, self.dense)


def members_of(name: str) -> tuple[str, ...]:
    """The baselines of models in a set.

    Raises:
        UsageError: there is no such set.
    """
    if name not in BASELINE_SETS:
        raise UsageError(f"unknown set of baselines {name!r}; choose from {', '.join(BASELINE_SETS)}")
    return tuple(one for one in BASELINE_SETS[name] if one not in NOT_IN_MODELS)


def structures_of(cells: Mapping[str, ModelRow]) -> list[str]:
    """The structures other than dense among cells, in their order."""
    found = dict.fromkeys(name.rpartition("/")[0] for name in cells)
    return [one for one in found if one != "dense"]


def split(cells: Mapping[str, ModelRow], structure: str, baselines: str) -> Split:
    """The split of one structure, from all cells of one model in one run."""
    present = tuple(one for one in members_of(baselines) if cell_name(structure, one) in cells)
    found = Split(structure, baselines, present)
    dense = next((one for one in (DENSE_FAIR, DENSE_AS_PUBLISHED) if _counts(cells.get(one))), None)
    fused = cells.get(cell_name(structure, FUSED))
    if dense is None:
        return _left_out(found, "dense: no result")
    if not _counts(fused):
        return _left_out(found, f"fused: {'no row' if fused is None else fused.status}")
    rows = {one: cells[cell_name(structure, one)] for one in present}
    for name, row in rows.items():
        if not _counts(row) and row.status not in CANNOT_COMPETE:
            return _left_out(found, f"{name}: {row.status}")
    known = {name: _over_dense(row, cells[dense]) for name, row in rows.items() if _counts(row)}
    if not known:
        return _left_out(found, "no baseline can compute it")
    best = min(known, key=lambda name: known[name].value)
    by_fused, one = _over_dense(fused, cells[dense]), Gain(1.0, 1.0, 1.0)
    published = cells.get(DENSE_AS_PUBLISHED)
    return Split(
        structure,
        baselines,
        present,
        best,
        dense,
        structure_gain=one.over(known[best]),
        kernel_gain=known[best].over(by_fused),
        total_gain=one.over(by_fused),
        over_published=_over_dense(published, cells[dense]).over(by_fused) if _counts(published) else None,
    )


def _left_out(found: Split, reason: str) -> Split:
    return Split(found.structure, found.baselines, found.members, left_out=reason)


def _counts(row: ModelRow | None) -> bool:
    return row is not None and row.status in COMPARABLE and row.latency_ms is not None


def _over_dense(row: ModelRow, dense: ModelRow) -> Gain:
    """A cell's latency over the dense one's, of the rounds that both were timed in where there are any."""
    if row is dense:
        return Gain(1.0, 1.0, 1.0)
    if row.ratio_to_fused is not None:
        return Gain(row.ratio_to_fused, row.ratio_to_fused_low, row.ratio_to_fused_high)
    return Gain(row.latency_ms / dense.latency_ms)


def breaks_series(splits: Sequence[Split]) -> list[bool]:
    """Whether each split begins a new series: another baseline, set or dense cell than the one before it."""
    return [bool(index) and one.basis != splits[index - 1].basis for index, one in enumerate(splits)]

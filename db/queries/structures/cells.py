"""Reads of the cells of layers and models: what one structure costs, computed in one way."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, select

from kswatch.db.backend.mapping import columns_of
from kswatch.db.records import FACTOR, HEADLINE_MODES, LAYER
from kswatch.db.schema.tables import Cell, Measurement, Problem, Run
from kswatch.db.store import Store


class StructuredCell(NamedTuple):
    """A measurement of a layer or a model with its run; the layer maps c features to b."""

    run_id: int
    started_at: datetime
    problem_id: int
    subject: str
    b: int
    c: int
    batch: int
    precision: str
    layout: str
    implementation: str
    status: str
    reason: str | None
    latency_ms: float | None
    latency_low_ms: float | None
    latency_high_ms: float | None
    energy_mj: float | None
    memory_peak_bytes: int | None
    parameters: int | None
    relative_error: float | None


class StructuredRun(NamedTuple):
    """An ended run that measured layers or models."""

    id: int
    device_id: int
    origin: str
    started_at: datetime


def runs_of_layers(store: Store) -> list[StructuredRun]:
    """The ended runs with a layer, the oldest first; runs that were excluded are left out."""
    return _runs(store, Problem.subject == LAYER)


def runs_of_models(store: Store) -> list[StructuredRun]:
    """The ended runs with a model, the oldest first; runs that were excluded are left out."""
    return _runs(store, Problem.subject.not_in((FACTOR, LAYER)))


def _runs(store: Store, which: ColumnElement[bool]) -> list[StructuredRun]:
    cells = select(Cell.id).join(Problem, Problem.id == Cell.problem_id).where(which)
    measured = select(Measurement.run_id).where(Measurement.cell_id.in_(cells))
    query = (
        select(*columns_of(StructuredRun, Run))
        .where(Run.id.in_(measured), Run.state != "running", Run.excluded.is_(False))
        .order_by(Run.id)
    )
    return store.read(query, StructuredRun)


def layer_cells(store: Store, run_ids: Collection[int]) -> list[StructuredCell]:
    """Every cell of a layer in these runs, the oldest run first."""
    return _cells(store, run_ids, Problem.subject == LAYER)


def _cells(store: Store, run_ids: Collection[int], which: ColumnElement[bool]) -> list[StructuredCell]:
    # by problem first: there are few of these among the cells of a run
    cells = select(Cell.id).join(Problem, Problem.id == Cell.problem_id).where(which)
    query = (
        select(*columns_of(StructuredCell, Measurement, Run, Cell, Problem))
        .join(Run, Run.id == Measurement.run_id)
        .join(Cell, Cell.id == Measurement.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .where(Measurement.run_id.in_(run_ids), Measurement.cell_id.in_(cells))
        .where(Measurement.mode.in_(HEADLINE_MODES))
        .order_by(Measurement.run_id, Cell.id)
    )
    return store.read(query, StructuredCell)

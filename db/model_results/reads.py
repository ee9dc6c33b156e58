"""Reads of models and layers: the newest result of each on a device, a model's nights, costs by family."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, func, select

from kswatch.db.backend.mapping import PROBLEM_COLUMNS, is_problem, key_first, matching
from kswatch.db.model_results.splits import Split, breaks_series, split, structures_of
from kswatch.db.queries.runs import run_filters
from kswatch.db.records import FACTOR, HEADLINE_MODES, LAYER, ProblemKey
from kswatch.db.schema.tables import Cell, Counter, Measurement, Problem, Run
from kswatch.db.store import Store

SHOWN_KINDS: tuple[str, ...] = ("nightly", "ad_hoc", "import")
"""Runs whose layers and models are shown; the others are selected samples or other revisions."""

MODEL_COLUMNS: tuple[str, ...] = (
    "status", "reason", "latency_ms", "latency_low_ms", "latency_high_ms", "ratio_to_fused",
    "ratio_to_fused_low", "ratio_to_fused_high", "energy_mj", "energy_reason", "memory_peak_bytes",
    "parameters", "flops", "bytes_moved", "relative_error", "compile_ms",
)  # fmt: skip


class ModelCellRow(NamedTuple):
    """One cell of a layer or a model in one run; `ratio_to_fused` is that to the dense cell."""

    run_id: int
    problem_id: int
    cell_id: int
    implementation: str
    status: str
    reason: str | None
    latency_ms: float | None
    latency_low_ms: float | None
    latency_high_ms: float | None
    ratio_to_fused: float | None
    ratio_to_fused_low: float | None
    ratio_to_fused_high: float | None
    energy_mj: float | None
    energy_reason: str | None
    memory_peak_bytes: int | None
    parameters: int | None
    flops: int | None
    bytes_moved: int | None
    relative_error: float | None
    compile_ms: float | None

    @property
    def structure(self) -> str:
        """The first part of the name."""
        return self.implementation.rpartition("/")[0]

    @property
    def computed_by(self) -> str:
        """The second part of the name."""
        return self.implementation.rpartition("/")[2]


@dataclass(frozen=True)
class ModelResult:
    """All cells of one model, or of one layer, in one run."""

    problem: ProblemKey
    run_id: int
    started_at: datetime
    origin: str
    cells: dict[str, ModelCellRow]
    """By name."""
    figures: dict[str, dict[str, float]]
    """Further figures by the cell's name: linear_share, mean_ms."""

    def splits(self, baselines: str) -> list[Split]:
        """The split of each structure, in the order of the cells."""
        return [split(self.compared, one, baselines) for one in structures_of(self.cells)]

    @property
    def compared(self) -> dict[str, ModelCellRow]:
        """The cells as they are compared: published figures by their means, as their authors did."""
        means = {name: known.get("mean_ms") for name, known in self.figures.items()}
        if None in means.values():
            return self.cells
        return {name: cell._replace(latency_ms=means[name]) for name, cell in self.cells.items()}


@dataclass(frozen=True)
class SplitPoint:
    """A structure's split in one night."""

    run_id: int
    started_at: datetime
    split: Split
    begins_series: bool
    """Whether its baseline, set or dense cell differs from the night before: no line leads to it."""


_ROW_COLUMNS = (
    Measurement.run_id, Cell.problem_id, Cell.id, Cell.implementation,
    *(getattr(Measurement, name) for name in MODEL_COLUMNS),
)  # fmt: skip


def newest_models(
    store: Store, device_id: int, run_id: int | None = None, model: str | None = None
) -> list[ModelResult]:
    """Each model's cells in its newest run on a device, or in one run."""
    which: list[ColumnElement[bool]] = [Problem.subject.not_in((FACTOR, LAYER))]
    if model is not None:
        which.append(Problem.subject.startswith(f"{model} ", autoescape=True))
    return _newest(store, device_id, which, run_id)


def newest_layers(
    store: Store,
    device_id: int,
    *,
    precision: str | None = None,
    batch: int | None = None,
    sides: tuple[int, int] | None = None,
    run_id: int | None = None,
) -> list[ModelResult]:
    """Each layer's cells in its newest run on a device; `sides` are its inputs and outputs."""
    inputs, outputs = sides or (None, None)
    which: list[ColumnElement[bool]] = [Problem.subject == LAYER]
    which += matching(
        (Problem.precision, precision), (Problem.batch, batch), (Problem.c, inputs), (Problem.b, outputs)
    )
    return _newest(store, device_id, which, run_id)


def model_nights(
    store: Store, device_id: int, problem: ProblemKey, structure: str, baselines: str = "all"
) -> list[SplitPoint]:
    """A structure's split in each nightly run of a device, the oldest first."""
    runs = select(Run.id).where(*run_filters(device_id, ("nightly",), None))
    query = _rows([*is_problem(problem), Measurement.device_id == device_id, Run.id.in_(runs)])
    results = _results(store, query)
    splits = [split(one.compared, structure, baselines) for one in results]
    begins = breaks_series(splits)
    return [
        SplitPoint(one.run_id, one.started_at, found, first)
        for one, found, first in zip(results, splits, begins, strict=True)
    ]


def _newest(store: Store, device_id: int, which: Sequence[Any], run_id: int | None) -> list[ModelResult]:
    """The results of each problem in its newest run that has a latency of it."""
    runs = [Run.id == run_id] if run_id is not None else run_filters(device_id, SHOWN_KINDS, None)
    newest = (
        select(Cell.problem_id, func.max(Measurement.run_id).label("run_id"))
        .join(Cell, Cell.id == Measurement.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .join(Run, Run.id == Measurement.run_id)
        .where(*which, *runs, Measurement.device_id == device_id, Measurement.latency_ms.is_not(None))
        .group_by(Cell.problem_id)
        .subquery()
    )
    query = _rows([Measurement.device_id == device_id]).join(
        newest, (newest.c.problem_id == Cell.problem_id) & (newest.c.run_id == Measurement.run_id)
    )
    return sorted(_results(store, query), key=lambda one: (one.problem.subject, one.problem))


def _rows(which: Collection[Any]) -> Select:
    return (
        select(*PROBLEM_COLUMNS, Run.started_at, Run.origin, *_ROW_COLUMNS)
        .join(Cell, Cell.id == Measurement.cell_id)
        .join(Problem, Problem.id == Cell.problem_id)
        .join(Run, Run.id == Measurement.run_id)
        .where(*which, Measurement.mode.in_(HEADLINE_MODES))
        .order_by(Measurement.run_id, Cell.id, Measurement.mode.desc())  # unknown first: cold replaces it
    )


def _results(store: Store, query: Select) -> list[ModelResult]:
    found: dict[tuple[int, int], ModelResult] = {}
    with store.session() as session:
        for row in session.execute(query):
            _add(found, row)
        runs = {run_id for run_id, _ in found}
        counters = select(Counter.run_id, Counter.cell_id, Counter.name, Counter.value)
        counted = session.execute(counters.where(Counter.run_id.in_(runs))).all() if runs else []
    figures: dict[tuple[int, int], dict[str, float]] = defaultdict(dict)
    for run_id, cell_id, name, value in counted:
        if value is not None:
            figures[run_id, cell_id][name] = value
    for result in found.values():
        for name, cell in result.cells.items():
            result.figures[name] = figures.get((cell.run_id, cell.cell_id), {})
    return list(found.values())


def _add(found: dict[tuple[int, int], ModelResult], row: Row) -> None:
    problem, started_at, origin, *values = key_first(row)
    cell = ModelCellRow(*values)
    key = (cell.run_id, cell.problem_id)
    if key not in found:
        found[key] = ModelResult(problem, cell.run_id, started_at, origin, {}, {})
    found[key].cells[cell.implementation] = cell

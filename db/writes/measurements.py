"""Writing measurements, and with them the comparisons that pages and `check` read instead of history."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import groupby
from operator import attrgetter, is_not
from typing import Any, NamedTuple

from sqlalchemy import Connection, String, bindparam, or_, select

from kswatch.db.backend.bulk_insert import insert_rows, insert_tuples, parts
from kswatch.db.backend.codecs import pack_samples
from kswatch.db.records import (
    HEADLINE_MODES,
    IMPLEMENTATIONS,
    MeasurementRecord,
    PredictionRecord,
    is_structured,
)
from kswatch.db.schema.tables import Cell, Comparison, Counter, Measurement, Prediction, Run, Sample
from kswatch.db.writes.identifiers import IdentifierCache
from kswatch.db.writes.series_tails import (
    KINDS_WITH_TAILS,
    ComparedRow,
    TailUpdate,
    cell_points,
    ratio_points,
)
from kswatch.db.writes.speedup import COMPARED_METRICS, Measured, compare

PLAIN_COLUMNS: tuple[str, ...] = tuple(
    field.name
    for field in fields(MeasurementRecord)
    if field.name not in {"problem", "implementation", "flags", "samples_ms", "counters"}
)
"""Fields of a record that are columns of `measurement` as they are."""


@dataclass(frozen=True)
class RunFacts:
    """The columns of a run that writing its measurements needs."""

    run_id: int
    device_id: int
    kind: str

    @property
    def has_tails(self) -> bool:
        """Whether its points belong to the judged series: those of nightly runs alone."""
        return self.kind in KINDS_WITH_TAILS


def write_measurements(
    connection: Connection,
    identifiers: IdentifierCache,
    run: RunFacts,
    records: Sequence[MeasurementRecord],
    replace: bool = True,
) -> list[int]:
    """Write measurements with samples and counters, replacing those of the same cell and mode.

    Returns the cell id of each record. Without `replace` the run must not have any of them yet; it is faster.
    """
    cells = identifiers.cell_ids(connection, [(record.problem, record.implementation) for record in records])
    placed = list(zip(cells, records, strict=True))
    for some in parts(placed, _ROWS_AT_ONCE):
        known = _known_columns(run, some)
        absent = tuple(name for name in _COLUMNS if name not in known)
        rows = list(zip(*known.values(), strict=True))
        insert_tuples(connection, Measurement, tuple(known), rows, absent=absent, replace=replace)
    samples = [
        (run.run_id, cell_id, record.mode, pack_samples(record.samples_ms))
        for cell_id, record in placed
        if record.samples_ms
    ]
    insert_tuples(connection, Sample, ("run_id", "cell_id", "mode", "samples_ms"), samples)
    counters = [
        {"run_id": run.run_id, "cell_id": cell_id, **asdict(counter)}
        for cell_id, record in placed
        for counter in record.counters
    ]
    insert_rows(connection, Counter, counters, replace=True)
    return cells


_COLUMNS = tuple(Measurement.__table__.columns.keys())
_values = attrgetter(*PLAIN_COLUMNS)
_is_known = partial(is_not, None)
_ROWS_AT_ONCE = 250
"""Few enough to stay in the processor's cache while they are turned into columns and back."""


def _known_columns(
    run: RunFacts, placed: Sequence[tuple[int, MeasurementRecord]]
) -> dict[str, tuple[Any, ...]]:
    """The values of each column that some record has a value for, in a form that every database takes."""
    cells, records = zip(*placed, strict=True)
    columns = {
        "run_id": (run.run_id,) * len(cells),
        "cell_id": cells,
        "device_id": (run.device_id,) * len(cells),
        **dict(zip(PLAIN_COLUMNS, zip(*map(_values, records), strict=True), strict=True)),
        "flags": tuple([",".join(record.flags) or None for record in records]),
    }
    # in the table's order, in which statements want them
    known = {name: columns[name] for name in _COLUMNS if any(map(_is_known, columns[name]))}
    for name in known.keys() & _LENGTHS:
        length = _LENGTHS[name]
        if not all(text is None or _is_plain(text, length) for text in set(known[name])):
            known[name] = tuple(None if text is None else _storable(text, length) for text in known[name])
    return known


_LENGTHS: dict[str, int] = {
    column.name: column.type.length
    for column in Measurement.__table__.columns
    if isinstance(column.type, String) and column.type.length
}
"""The longest text of each column."""


def _is_plain(text: str, length: int) -> bool:
    return len(text) <= length and text.isascii() and "\0" not in text


def _storable(text: str, length: int) -> str:
    """The text without characters that a database refuses: a compiler's or a crash's output may hold any."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:length]


def points_of(
    run_id: int, cell_ids: Iterable[int], records: Iterable[MeasurementRecord]
) -> Iterator[TailUpdate]:
    """The updates of their cells' series by these measurements."""
    for cell_id, record in zip(cell_ids, records, strict=True):
        yield from cell_points(run_id, cell_id, record)


def write_comparisons(
    connection: Connection,
    run_id: int,
    baselines: Mapping[str, Collection[str]],
    cells: Iterable[PlacedCell],
) -> list[TailUpdate]:
    """Compare fused with the baselines on each problem, and return the updates of the headline's series.

    `cells` are all measurements that the run has of these problems. `baselines` are the members of each set:
    a comparison needs a row of each. Of a problem's modes the first headline mode is compared.
    """
    modes_of: dict[int, dict[str, dict[str, tuple[int, Measured]]]] = {}
    for problem_id, cell_id, one in cells:
        if is_structured(one.implementation):
            continue  # of a layer or a model: what is compared there depends on its other cells
        modes = modes_of.setdefault(problem_id, {})
        modes.setdefault(one.mode, {})[one.implementation] = (cell_id, one)
    rows: list[ComparedRow] = []
    points: list[TailUpdate] = []
    for problem_id in sorted(modes_of):
        shown = [modes_of[problem_id][mode] for mode in HEADLINE_MODES if mode in modes_of[problem_id]]
        if not shown:
            continue
        measured = {name: one for name, (_, one) in shown[0].items()}
        new = [
            ComparedRow(run_id, problem_id, metric, name, *compare(measured, metric, names))
            for metric in measured_metrics(measured.values())
            for name, names in baselines.items()
        ]
        fused_cell = next((cells_of["fused"][0] for cells_of in shown if "fused" in cells_of), None)
        points += ratio_points(new, fused_cell)
        rows += new
    insert_tuples(connection, Comparison, ComparedRow._fields, rows)
    return points


class StoredCell(NamedTuple):
    """The columns of one measurement that a comparison needs."""

    problem_id: int
    cell_id: int
    implementation: str
    mode: str
    run_id: int
    status: str
    latency_ms: float | None
    energy_mj: float | None
    energy_low_mj: float | None
    energy_high_mj: float | None
    ratio_to_fused: float | None
    ratio_to_fused_low: float | None
    ratio_to_fused_high: float | None


COMPARED_COLUMNS = tuple(getattr(Measurement, name) for name in StoredCell._fields[4:])
_OF_RUN = (
    select(Cell.problem_id, Cell.id, Cell.implementation, Measurement.mode, *COMPARED_COLUMNS)
    .join(Cell, Cell.id == Measurement.cell_id)
    .where(Measurement.run_id == bindparam("run_id"))
    .where(or_(*(Measurement.mode == mode for mode in HEADLINE_MODES)))
)
_OF_PROBLEMS = _OF_RUN.where(Cell.problem_id.in_(bindparam("problem_ids", expanding=True)))


PlacedCell = tuple[int, int, Measured]
"""(problem id, cell id, its measurement)."""


def stored(
    connection: Connection, run_id: int, problem_ids: Collection[int] | None = None
) -> Iterator[PlacedCell]:
    """The run's measurements as stored now: of these problems, or of all."""
    if problem_ids is None:
        found = connection.execute(_OF_RUN, {"run_id": run_id}).all()
    else:
        parameters = ({"run_id": run_id, "problem_ids": some} for some in parts(problem_ids))
        found = [row for one in parameters for row in connection.execute(_OF_PROBLEMS, one).all()]
    return ((row.problem_id, row.cell_id, row) for row in map(StoredCell._make, found))


def placed(
    connection: Connection,
    identifiers: IdentifierCache,
    cells: Sequence[int],
    records: Sequence[MeasurementRecord],
) -> Iterator[PlacedCell]:
    """The measurements of a run that has only these records, without reading them back."""
    by_problem = groupby(zip(cells, records, strict=True), key=lambda cell: cell[1].problem)
    grouped = [(key, list(some)) for key, some in by_problem]
    ids = identifiers.problem_ids(connection, (key for key, _ in grouped))
    return ((ids[key], cell_id, record) for key, some in grouped for cell_id, record in some)


def measured_metrics(measured: Collection[Measured]) -> list[str]:
    """Metrics that at least one measurement has; latency if there is none, whose row then has the reason."""
    found = [
        metric
        for metric, column in COMPARED_METRICS.items()
        if any(getattr(row, column) is not None for row in measured)
    ]
    return found or ["latency"]


def write_predictions(
    connection: Connection, identifiers: IdentifierCache, run_id: int, records: Sequence[PredictionRecord]
) -> None:
    """Write the heuristics' predictions for the run's problems."""
    ids = identifiers.problem_ids(connection, (record.problem for record in records))
    rows = [(run_id, ids[record.problem], *_prediction_values(record)) for record in records]
    insert_tuples(connection, Prediction, ("run_id", "problem_id", *_PREDICTION_COLUMNS), rows)


_PREDICTION_COLUMNS = ("heuristic", "version", "predicts_fused", "predicted_speedup")
_prediction_values = attrgetter(*_PREDICTION_COLUMNS)

_HELD = (
    select(Cell.id)
    .where(Cell.implementation == bindparam("implementation"))
    # cells first, each probed in the index by series: the other way round would walk the device's history
    .where(
        select(Measurement.run_id)
        .join(Run, Run.id == Measurement.run_id)
        .where(Measurement.device_id == bindparam("device_id"), Measurement.cell_id == Cell.id)
        .where(or_(Run.excluded.is_(False), Run.id == bindparam("run_id")))
        .exists()
    )
    .limit(1)
)


def held_implementations(connection: Connection, device_id: int, run_id: int | None = None) -> set[str]:
    """Implementations but rivals that the device's runs measured; of excluded runs only `run_id`."""
    which = {"device_id": device_id, "run_id": run_id}
    return {name for name in IMPLEMENTATIONS if connection.scalar(_HELD, {"implementation": name, **which})}

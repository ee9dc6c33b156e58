"""Writing measurements, and with them what pages and `check` read instead of history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from db.comparing import COMPARED_METRICS, Measured, Outcome, compare
from db.models import Cell, Comparison, Measurement, Problem, Sample, SeriesTail
from db.packing import Point, pack_samples, with_point
from db.records import BASELINE_SETS, COMPARABLE, MeasurementRecord
from db.vocabulary import CellKey, Vocabulary, insert_rows

PLAIN_COLUMNS: tuple[str, ...] = tuple(
    field.name
    for field in fields(MeasurementRecord)
    if field.name not in {"problem", "implementation", "flags", "samples_ms"}
)
"""Fields of a record that are columns of `measurement` as they are."""

TAIL_METRICS: dict[str, tuple[str | None, str | None]] = {
    "latency_ms": ("latency_low_ms", "latency_high_ms"),
    "energy_mj": ("energy_low_mj", "energy_high_mj"),
    "cycles": (None, None),
}
"""Metrics of a cell whose tails are kept, and the columns of their intervals."""

RATIO_OF_METRIC = {"latency": "speedup", "energy": "energy_ratio"}
"""The metric's name of a comparison's series; it is the series of the problem's `fused` cell."""

HEADLINE_MODES = ("cold", "unknown")
"""Modes that are compared and judged: never hot, the first that a problem has."""

_values = attrgetter(*PLAIN_COLUMNS)


@dataclass(frozen=True)
class RunFacts:
    """What writing a measurement must know of its run."""

    run_id: int
    device_id: int
    kind: str

    @property
    def keeps_tails(self) -> bool:
        """Whether its points belong to the series that are judged: those of nights alone."""
        return self.kind == "nightly"


def write_measurements(
    session: Session, vocabulary: Vocabulary, run: RunFacts, records: Sequence[MeasurementRecord]
) -> dict[CellKey, int]:
    """Write measurements and samples, replacing those of the same cell and mode; gives the cells' ids."""
    ids = vocabulary.cell_ids(session, {(record.problem, record.implementation) for record in records})
    rows = [_row(run, ids[record.problem, record.implementation], record) for record in records]
    insert_rows(session, Measurement, rows, replace=True)
    samples = [
        {
            "run_id": run.run_id,
            "cell_id": ids[record.problem, record.implementation],
            "mode": record.mode,
            "samples_ms": pack_samples(record.samples_ms),
        }
        for record in records
        if record.samples_ms
    ]
    insert_rows(session, Sample, samples, replace=True)
    return ids


def _row(run: RunFacts, cell_id: int, record: MeasurementRecord) -> dict[str, Any]:
    row = dict(zip(PLAIN_COLUMNS, _values(record), strict=True))
    row["run_id"], row["device_id"], row["cell_id"] = run.run_id, run.device_id, cell_id
    row["flags"] = ",".join(record.flags) or None
    return row


def write_comparisons(
    session: Session, run: RunFacts, problem_ids: Collection[int], held: Collection[str]
) -> list[dict[str, Any]]:
    """Compare fused with the baselines on these problems of the run, from what the store now holds.

    Args:
        session: of the transaction that wrote the measurements.
        run: whose measurements.
        problem_ids: the problems to compare anew.
        held: implementations that the device holds rows of; only these must have one for a comparison.
    """
    by_problem = _measured(session, run.run_id, problem_ids)
    rows = [
        row for id_ in sorted(by_problem) for row in comparison_rows(run.run_id, id_, by_problem[id_], held)
    ]
    insert_rows(session, Comparison, rows, replace=True)
    return rows


_COMPARED_COLUMNS = (
    Measurement.status,
    Measurement.latency_ms,
    Measurement.energy_mj,
    Measurement.energy_low_mj,
    Measurement.energy_high_mj,
    Measurement.ratio_to_fused_low,
    Measurement.ratio_to_fused_high,
)


def _measured(session: Session, run_id: int, problem_ids: Collection[int]) -> dict[int, dict[str, Row[Any]]]:
    """Each problem's measurements by implementation, in its first headline mode."""
    query = (
        select(Cell.problem_id, Cell.implementation, Measurement.mode, *_COMPARED_COLUMNS)
        .join(Cell, Cell.id == Measurement.cell_id)
        .where(Measurement.run_id == run_id, Measurement.mode.in_(HEADLINE_MODES))
    )
    if len(problem_ids) < 500:
        query = query.where(Cell.problem_id.in_(problem_ids))
    wanted = set(problem_ids)
    by_mode: dict[int, dict[str, dict[str, Row[Any]]]] = defaultdict(lambda: defaultdict(dict))
    for row in session.execute(query):
        if row.problem_id in wanted:
            by_mode[row.problem_id][row.mode][row.implementation] = row
    return {id_: modes[min(modes, key=HEADLINE_MODES.index)] for id_, modes in by_mode.items()}


def comparison_rows(
    run_id: int, problem_id: int, measured: Mapping[str, Measured], held: Collection[str]
) -> list[dict[str, Any]]:
    """Rows of `comparison` for one problem: each metric that was read, each set of baselines."""
    rows = []
    for metric in metrics_read(measured.values()):
        for name, baselines in BASELINE_SETS.items():
            outcome = compare(measured, metric, [one for one in baselines if one in held])
            rows.append(_comparison_row(run_id, problem_id, metric, name, outcome))
    return rows


def metrics_read(measured: Iterable[Measured]) -> list[str]:
    """Metrics that at least one measurement has; latency when there is none, to say why it is left out."""
    rows = list(measured)
    read = [
        metric
        for metric, column in COMPARED_METRICS.items()
        if any(getattr(row, column) is not None for row in rows)
    ]
    return read or ["latency"]


def _comparison_row(run_id: int, problem_id: int, metric: str, name: str, outcome: Outcome) -> dict[str, Any]:
    row = {"run_id": run_id, "problem_id": problem_id, "metric": metric, "baselines": name}
    return row | vars(outcome)


def write_tails(
    session: Session,
    run: RunFacts,
    records: Iterable[tuple[int, MeasurementRecord]],
    ratios: Iterable[tuple[int, str, Point]],
) -> None:
    """Append this run's points to the tails of their series.

    Args:
        session: of the transaction that wrote the measurements.
        run: whose points; nothing is done unless it is a nightly one.
        records: cells' ids and what was measured.
        ratios: ids of `fused` cells, `speedup` or `energy_ratio`, and the point.
    """
    if not run.keeps_tails:
        return
    points = {(cell_id, metric): point for cell_id, metric, point in ratios}
    for cell_id, record in records:
        for metric, point in record_points(run.run_id, record):
            points[cell_id, metric] = point
    wanted = {cell_id for cell_id, _ in points}
    query = select(SeriesTail.cell_id, SeriesTail.metric, SeriesTail.points).where(
        SeriesTail.device_id == run.device_id, SeriesTail.cell_id.in_(wanted)
    )
    tails = {(cell_id, metric): packed for cell_id, metric, packed in session.execute(query)}
    rows = [
        {
            "device_id": run.device_id,
            "cell_id": key[0],
            "metric": key[1],
            "newest_run_id": run.run_id,
            "points": with_point(tails.get(key, b""), point),
        }
        for key, point in sorted(points.items())
    ]
    insert_rows(session, SeriesTail, rows, replace=True)


def record_points(run_id: int, record: MeasurementRecord) -> Iterable[tuple[str, Point]]:
    """The points that a measurement adds to the tails of its cell."""
    if record.status not in COMPARABLE or record.mode not in HEADLINE_MODES:
        return
    for metric, (low, high) in TAIL_METRICS.items():
        value = getattr(record, metric)
        if value is not None:
            yield metric, Point(run_id, value, low and getattr(record, low), high and getattr(record, high))


def ratio_points(
    rows: Iterable[Mapping[str, Any]], fused_cells: Mapping[int, int]
) -> list[tuple[int, str, Point]]:
    """Points of the headline's speedups, from rows of `comparison`.

    Args:
        rows: as `write_comparisons` gives them.
        fused_cells: the `fused` cell of each problem.
    """
    return [
        (
            fused_cells[row["problem_id"]],
            RATIO_OF_METRIC[row["metric"]],
            Point(row["run_id"], row["speedup"], row["speedup_low"], row["speedup_high"]),
        )
        for row in rows
        if row["baselines"] == "all" and row["speedup"] is not None
    ]


def held_implementations(session: Session, device_id: int) -> set[str]:
    """Implementations that the device holds at least one measurement of."""
    names = session.scalars(select(Cell.implementation).distinct())
    return {
        name
        for name in names
        if session.scalar(
            select(Measurement.run_id)
            .join(Cell, Cell.id == Measurement.cell_id)
            .where(Measurement.device_id == device_id, Cell.implementation == name)
            .limit(1)
        )
    }


def fused_cells(session: Session, problem_ids: Collection[int]) -> dict[int, int]:
    """The `fused` cell of each problem that has one."""
    query = select(Cell.problem_id, Cell.id).where(Cell.implementation == "fused")
    if len(problem_ids) < 500:
        query = query.where(Cell.problem_id.in_(problem_ids))
    return {problem_id: cell_id for problem_id, cell_id in session.execute(query)}


def problem_keys(session: Session, problem_ids: Collection[int]) -> dict[int, tuple[str, str]]:
    """Precision and layout of each problem."""
    query = select(Problem.id, Problem.precision, Problem.layout).where(Problem.id.in_(problem_ids))
    return {id_: (precision, layout) for id_, precision, layout in session.execute(query)}

"""Writing measurements, and with them what pages and `check` read instead of history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from typing import Any

from sqlalchemy import Row, String, or_, select
from sqlalchemy.orm import Session

from db.comparing import COMPARED_METRICS, Measured, Outcome, compare
from db.models import Cell, Comparison, Counter, Measurement, Prediction, Run, Sample
from db.packing import pack_samples
from db.records import BASELINE_SETS, HEADLINE_MODES, MeasurementRecord, PredictionRecord
from db.tails import KINDS_WITH_TAILS, SeriesPoint, cell_points
from db.vocabulary import CellKey, Vocabulary, insert_rows, insert_tuples

PLAIN_COLUMNS: tuple[str, ...] = tuple(
    field.name
    for field in fields(MeasurementRecord)
    if field.name not in {"problem", "implementation", "flags", "samples_ms", "counters"}
)
"""Fields of a record that are columns of `measurement` as they are."""

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
        return self.kind in KINDS_WITH_TAILS


def write_measurements(
    session: Session, vocabulary: Vocabulary, run: RunFacts, records: Sequence[MeasurementRecord]
) -> dict[CellKey, int]:
    """Write measurements and samples, replacing those of the same cell and mode; gives the cells' ids."""
    keys = [(record.problem, record.implementation) for record in records]
    ids = vocabulary.cell_ids(session, set(keys))
    cells = [ids[key] for key in keys]  # hashing a problem is what costs most here: once each
    rows = [_row(run, cell_id, record) for cell_id, record in zip(cells, records, strict=True)]
    insert_tuples(session, Measurement, _COLUMNS, rows)
    samples = [
        {
            "run_id": run.run_id,
            "cell_id": cell_id,
            "mode": record.mode,
            "samples_ms": pack_samples(record.samples_ms),
        }
        for cell_id, record in zip(cells, records, strict=True)
        if record.samples_ms
    ]
    insert_rows(session, Sample, samples, replace=True)
    counters = [
        {"run_id": run.run_id, "cell_id": ids[record.problem, record.implementation], **asdict(counter)}
        for record in records
        for counter in record.counters
    ]
    insert_rows(session, Counter, counters, replace=True)
    return ids


_COLUMNS = ("run_id", "device_id", "cell_id", "flags", *PLAIN_COLUMNS)


def _row(run: RunFacts, cell_id: int, record: MeasurementRecord) -> tuple[Any, ...]:
    """The record's values in the order of `_COLUMNS`."""
    flags = ",".join(record.flags) or None
    row = (run.run_id, run.device_id, cell_id, flags, *_values(record))
    odd = [place for place, length in _TEXTS if (value := row[place]) and not _is_plain(value, length)]
    if not odd:
        return row
    lengths = dict(_TEXTS)
    return tuple(
        _storable(value, lengths[place]) if place in odd else value for place, value in enumerate(row)
    )


_TEXTS: tuple[tuple[int, int], ...] = tuple(
    (_COLUMNS.index(column.name), column.type.length)
    for column in Measurement.__table__.columns
    if isinstance(column.type, String) and column.type.length and column.name not in {"mode", "status"}
)
"""Places of texts in a row, and how long each may be."""


def _is_plain(text: str, length: int) -> bool:
    return len(text) <= length and text.isascii() and "\0" not in text


def _storable(text: str, length: int) -> str:
    """The text without what a database refuses (a compiler's or a crash's words may hold anything)."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:length]


def points_of(
    run_id: int, cell_ids: Mapping[CellKey, int], records: Iterable[MeasurementRecord]
) -> Iterator[SeriesPoint]:
    """What measurements say of the series of their cells."""
    for record in records:
        yield from cell_points(run_id, cell_ids[record.problem, record.implementation], record)


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


COMPARED_COLUMNS = (
    Measurement.run_id,
    Measurement.status,
    Measurement.latency_ms,
    Measurement.energy_mj,
    Measurement.energy_low_mj,
    Measurement.energy_high_mj,
    Measurement.ratio_to_fused,
    Measurement.ratio_to_fused_low,
    Measurement.ratio_to_fused_high,
)


def _measured(session: Session, run_id: int, problem_ids: Collection[int]) -> dict[int, dict[str, Row]]:
    """Each problem's measurements by implementation, in its first headline mode."""
    query = (
        select(Cell.problem_id, Cell.implementation, Measurement.mode, *COMPARED_COLUMNS)
        .join(Cell, Cell.id == Measurement.cell_id)
        .where(Measurement.run_id == run_id, Measurement.mode.in_(HEADLINE_MODES))
    )
    if len(problem_ids) < 500:
        query = query.where(Cell.problem_id.in_(problem_ids))
    wanted = set(problem_ids)
    by_mode: dict[int, dict[str, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
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


def write_predictions(
    session: Session, vocabulary: Vocabulary, run_id: int, records: Sequence[PredictionRecord]
) -> None:
    """Write what heuristics say for the run's problems."""
    ids = vocabulary.problem_ids(session, {record.problem for record in records})
    rows = [
        {
            "run_id": run_id,
            "problem_id": ids[record.problem],
            "heuristic": record.heuristic,
            "version": record.version,
            "predicts_fused": record.predicts_fused,
            "predicted_speedup": record.predicted_speedup,
        }
        for record in records
    ]
    insert_rows(session, Prediction, rows, replace=True)


def held_implementations(session: Session, device_id: int, run_id: int | None = None) -> set[str]:
    """Implementations that the device's runs hold a measurement of; of excluded ones only the named run's."""
    # cells first, each probed in the index by series: the other way round would walk the device's history
    on_device = (
        select(Measurement.run_id)
        .join(Run, Run.id == Measurement.run_id)
        .where(Measurement.device_id == device_id, Measurement.cell_id == Cell.id)
        .where(or_(Run.excluded.is_(False), Run.id == run_id))
        .exists()
    )
    names = list(session.scalars(select(Cell.implementation).distinct()))
    measured = select(Cell.id).where(on_device).limit(1)
    return {name for name in names if session.scalar(measured.where(Cell.implementation == name))}


def fused_cells(session: Session, problem_ids: Collection[int]) -> dict[int, int]:
    """The `fused` cell of each problem that has one."""
    query = select(Cell.problem_id, Cell.id).where(Cell.implementation == "fused")
    if len(problem_ids) < 500:
        query = query.where(Cell.problem_id.in_(problem_ids))
    return {problem_id: cell_id for problem_id, cell_id in session.execute(query)}


def measured_problems(session: Session, run_id: int) -> set[int]:
    """Problems that the run holds a measurement of."""
    query = select(Cell.problem_id).join(Measurement, Measurement.cell_id == Cell.id)
    return set(session.scalars(query.where(Measurement.run_id == run_id).distinct()))

"""What a run and a measurement from a file must fulfil beyond having the right types."""

from __future__ import annotations

from kswatch.db.interchange.decoding import RowFault
from kswatch.db.interchange.ingest import RunHeader
from kswatch.db.records import IMPLEMENTATIONS, LAYOUTS, PRECISIONS, MeasurementRecord, ProblemKey
from kswatch.db.schema.tables import Run

POSITIVE = ("latency_ms", "latency_low_ms", "latency_high_ms", "energy_mj", "energy_low_mj", "energy_high_mj")
LONGEST_IDENTITY: int = Run.__table__.c.identity.type.length  # type: ignore[attr-defined]


def checked_header(header: RunHeader) -> RunHeader:
    """The header, whose run can be known again.

    Raises:
        RowFault: it has no identity, or speaks of problems that do not exist.
    """
    if not header.identity or len(header.identity) > LONGEST_IDENTITY:
        raise RowFault(f"identity {header.identity!r} is not of 1 to {LONGEST_IDENTITY} characters")
    for prediction in header.predictions:
        _check_problem(prediction.problem)
    return header


def checked_record(record: MeasurementRecord) -> MeasurementRecord:
    """The record, which can be true.

    Raises:
        RowFault: no such problem or implementation exists, or a time or energy is not above 0.
    """
    _check_problem(record.problem)
    if record.implementation not in IMPLEMENTATIONS:
        known = ", ".join(IMPLEMENTATIONS)
        raise RowFault(f"implementation {record.implementation!r} is not one of {known}")
    for name in POSITIVE:
        value = getattr(record, name)
        if value is not None and value <= 0:
            raise RowFault(f"{name} is {value}, not above 0")
    if record.samples_ms and min(record.samples_ms) <= 0:
        raise RowFault(f"a sample is {min(record.samples_ms)} ms, not above 0")
    return record


def _check_problem(problem: ProblemKey) -> None:
    for name in ("a", "b", "c", "d", "batch"):
        if getattr(problem, name) < 1:
            raise RowFault(f"{name} is {getattr(problem, name)}, not an integer >= 1")
    if problem.precision not in PRECISIONS:
        raise RowFault(f"precision {problem.precision!r} is not one of {', '.join(PRECISIONS)}")
    if problem.layout not in LAYOUTS:
        raise RowFault(f"layout {problem.layout!r} is not one of {', '.join(LAYOUTS)}")

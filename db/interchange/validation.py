"""Validation of runs and measurements from files, beyond the types of their values."""

from __future__ import annotations

import math

from kswatch.db.decoding import DecodeError
from kswatch.db.interchange.ingest import RunHeader
from kswatch.db.records import IMPLEMENTATIONS, LAYOUTS, PRECISIONS, MeasurementRecord, ProblemKey
from kswatch.db.schema.tables import Run

POSITIVE = ("latency_ms", "latency_low_ms", "latency_high_ms", "energy_mj", "energy_low_mj", "energy_high_mj")
LARGEST = 1e30
"""Larger numbers are no measurement; the limit also keeps them within the float32 of tails and samples."""
WIDE_INTEGERS = frozenset(
    {"seed", "bytes_moved", "flops", "memory_bytes", "cache_bytes", "memory_peak_bytes"}
)
"""Fields whose columns have 64 bits; the others have 32."""
LONGEST_IDENTITY: int = Run.__table__.c.identity.type.length  # type: ignore[attr-defined]


def check_number(name: str, value: object) -> None:
    """Refuse numbers that no measurement has, or that their columns cannot hold.

    Raises:
        DecodeError: the number is infinite, NaN or too large.
    """
    if isinstance(value, float) and not (math.isfinite(value) and abs(value) < LARGEST):
        raise DecodeError(f"{name} is {value}, not a plausible number")
    if isinstance(value, int) and abs(value) >= 2 ** (63 if name in WIDE_INTEGERS else 31):
        raise DecodeError(f"{name} is {value}, too large an integer")


def checked_header(header: RunHeader) -> RunHeader:
    """The header, if its run can be identified.

    Raises:
        DecodeError: it has no identity, or predictions for invalid problems.
    """
    if not header.identity or len(header.identity) > LONGEST_IDENTITY:
        raise DecodeError(f"identity {header.identity!r} is not of 1 to {LONGEST_IDENTITY} characters")
    for prediction in header.predictions:
        _check_problem(prediction.problem)
    return header


def checked_record(record: MeasurementRecord) -> MeasurementRecord:
    """The record, if it is valid.

    Raises:
        DecodeError: its problem or implementation does not exist, or a latency or energy is not above 0.
    """
    _check_problem(record.problem)
    if record.implementation not in IMPLEMENTATIONS:
        known = ", ".join(IMPLEMENTATIONS)
        raise DecodeError(f"implementation {record.implementation!r} is not one of {known}")
    for name in POSITIVE:
        value = getattr(record, name)
        if value is not None and value <= 0:
            raise DecodeError(f"{name} is {value}, not above 0")
    if record.samples_ms and min(record.samples_ms) <= 0:
        raise DecodeError(f"a sample is {min(record.samples_ms)} ms, not above 0")
    return record


def _check_problem(problem: ProblemKey) -> None:
    for name in ("a", "b", "c", "d", "batch"):
        if getattr(problem, name) < 1:
            raise DecodeError(f"{name} is {getattr(problem, name)}, not an integer >= 1")
    if problem.precision not in PRECISIONS:
        raise DecodeError(f"precision {problem.precision!r} is not one of {', '.join(PRECISIONS)}")
    if problem.layout not in LAYOUTS:
        raise DecodeError(f"layout {problem.layout!r} is not one of {', '.join(LAYOUTS)}")

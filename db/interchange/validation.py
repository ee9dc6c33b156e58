"""Validation of runs and measurements from files, beyond the types of their values."""

from __future__ import annotations

import math
from functools import cache

from sqlalchemy import String

from kswatch.db.coordination.run_log import LogLine
from kswatch.db.decoding import DecodeError
from kswatch.db.interchange.ingest import RunHeader
from kswatch.db.queries.compiled_code import ResourceRow
from kswatch.db.queries.rows import EventRecord
from kswatch.db.records import (
    FACTOR,
    KNOWN_IMPLEMENTATIONS,
    LAYOUTS,
    PRECISIONS,
    CanaryRecord,
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    PredictionRecord,
    ProblemKey,
    RevisionRecord,
    RunRecord,
    is_foreign,
)
from kswatch.db.schema.base import Base
from kswatch.db.schema.tables import (
    Canary,
    Cell,
    Device,
    Environment,
    Measurement,
    Prediction,
    Problem,
    Resource,
    Revision,
    Run,
    RunEvent,
    RunLog,
)

POSITIVE = (
    *("compile_ms", "latency_ms", "latency_low_ms", "latency_high_ms"),
    *("energy_mj", "energy_low_mj", "energy_high_mj"),
)
LARGEST = 1e30
"""Larger numbers are no measurement; the limit also keeps them within the float32 of tails and samples."""
WIDE_INTEGERS = frozenset(
    {"seed", "bytes_moved", "flops", "parameters", "memory_bytes", "cache_bytes", "memory_peak_bytes"}
)
"""Fields whose columns have 64 bits; the others have 32."""
LONGEST_IDENTITY: int = Run.__table__.c.identity.type.length  # type: ignore[attr-defined]


def check_value(record: type, name: str, value: object) -> None:
    """Refuse values that no measurement has, or that their columns cannot hold.

    Raises:
        DecodeError: a number is infinite, NaN or too large; a text is too long, or has characters that no
            text has; a free-form value is nested too deeply.
    """
    if isinstance(value, str):
        _check_text(record, name, value)
    elif isinstance(value, float):
        if not (math.isfinite(value) and abs(value) < LARGEST):
            raise DecodeError(f"{name} is {value}, not a plausible number")
    elif isinstance(value, int):
        if abs(value) >= 2 ** (63 if name in WIDE_INTEGERS else 31):
            raise DecodeError(f"{name} is {_brief(value)}, too large an integer")
    elif isinstance(value, dict | list):
        _check_free(name, value, 0)


def _check_text(record: type, name: str, text: str) -> None:
    longest = _lengths().get((record, name))
    if longest is not None and len(text) > longest:
        raise DecodeError(f"{name} has {len(text)} characters, more than {longest}")
    if wrong := _wrong_character(text):
        raise DecodeError(f"{name} has the character U+{ord(wrong):04X}, which no database stores")


def _wrong_character(text: str) -> str | None:
    """The first character that is NUL or half of one; other control characters are escaped where shown."""
    return next((one for one in text if one == "\0" or "\ud800" <= one <= "\udfff"), None)


MOST_DEPTH = 20


def _check_free(name: str, value: object, depth: int) -> None:
    """Check what JSON columns hold: no database takes NaN, NUL or half a character there."""
    if depth > MOST_DEPTH:
        raise DecodeError(f"{name} is nested more than {MOST_DEPTH} deep")
    if isinstance(value, dict):
        for key, below in value.items():
            _check_free(name, key, depth + 1)
            _check_free(name, below, depth + 1)
    elif isinstance(value, list):
        for below in value:
            _check_free(name, below, depth + 1)
    elif isinstance(value, str) and (wrong := _wrong_character(value)):
        raise DecodeError(f"{name} holds the character U+{ord(wrong):04X}, which no database stores")
    elif isinstance(value, int | float) and not abs(value) < 2**63:  # nor NaN
        raise DecodeError(f"{name} holds {_brief(value)}, not a plausible number")


def _brief(value: object) -> str:
    text = str(value) if not isinstance(value, int) or abs(value) < 10**30 else f"{str(value)[:12]}..."
    return text[:60]


@cache
def _lengths() -> dict[tuple[type, str], int]:
    """The length of each text column, by record and field."""
    return {
        (record, column.name): column.type.length
        for record, tables in _TABLES.items()
        for table in tables
        for column in table.__table__.columns
        if isinstance(column.type, String) and column.type.length
    }


_TABLES: dict[type, tuple[type[Base], ...]] = {
    RunRecord: (Run,),
    RunHeader: (Run,),
    DeviceRecord: (Device,),
    EnvironmentRecord: (Environment,),
    RevisionRecord: (Revision,),
    MeasurementRecord: (Cell, Measurement),
    PredictionRecord: (Prediction,),
    ProblemKey: (Problem,),
    CanaryRecord: (Canary,),
    ResourceRow: (Resource,),
    EventRecord: (RunEvent,),
    LogLine: (RunLog,),
}


def checked_header(header: RunHeader) -> RunHeader:
    """The header, if its run can be identified.

    Raises:
        DecodeError: it has no identity, or predictions for invalid problems.
    """
    if not header.identity or len(header.identity) > LONGEST_IDENTITY:
        raise DecodeError(
            f"identity {(header.identity or '')[:80]!r} is not of 1 to {LONGEST_IDENTITY} characters"
        )
    for prediction in header.predictions:
        _check_problem(prediction.problem)
    return header


def checked_record(record: MeasurementRecord) -> MeasurementRecord:
    """The record, if it is valid.

    Raises:
        DecodeError: its problem or implementation does not exist, or a latency or energy is not above 0.
    """
    _check_problem(record.problem)
    known_name = record.implementation in KNOWN_IMPLEMENTATIONS or is_foreign(record.implementation)
    if record.problem.subject == FACTOR and not known_name:
        known = ", ".join(KNOWN_IMPLEMENTATIONS)
        raise DecodeError(f"implementation {record.implementation!r} is not one of {known}")
    if record.problem.subject != FACTOR and "/" not in record.implementation:
        raise DecodeError(
            f"implementation {record.implementation!r} does not name a structure and an implementation, "
            "as in ks/fused"
        )
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

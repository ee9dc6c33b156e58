"""JSON lines, the complete form: a line for each run, followed by one for each of its measurements.

    {"type": "run", "identity": ..., "record": {...}, "canaries": [...], "predictions": [...], ...}
    {"type": "measurement", "run": <identity>, "problem": {...}, "implementation": ..., ...}

Fields are those of `kswatch.db.interchange.ingest.RunHeader` and `kswatch.db.records`, less defaults.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TextIO

from kswatch.db.decoding import DecodeError, decode
from kswatch.db.interchange.ingest import FileRow, ImportResult, RunHeader
from kswatch.db.interchange.reader import TextFile
from kswatch.db.interchange.validation import check_value, checked_header, checked_record
from kswatch.db.json_text import to_json_text
from kswatch.db.records import MeasurementRecord, ProblemKey
from kswatch.errors import FormatError


def write_lines(file: TextIO, runs: Iterator[tuple[RunHeader, list[MeasurementRecord]]]) -> int:
    """Write runs as JSON lines, and return the number of measurements."""
    written = 0
    for header, records in runs:
        _write(file, {"type": "run", **_brief(header)})
        for record in records:
            samples_ms = tuple(float(f"{sample:.9g}") for sample in record.samples_ms)
            values = _brief(replace(record, samples_ms=samples_ms))
            _write(file, {"type": "measurement", "run": header.identity, **values})
        written += len(records)
    return written


def _write(file: TextIO, line: dict[str, object]) -> None:
    file.write(to_json_text(line, indent=None) + "\n")


def _brief(record: Any) -> dict[str, object]:  # noqa: ANN401  (any of our frozen dataclasses)
    """The record's fields that differ from their default."""
    values = {}
    for field in fields(record):
        value = getattr(record, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if value != default:
            values[field.name] = _brief(value) if isinstance(value, ProblemKey) else value
    return values


def read_lines(file: TextFile, tally: ImportResult) -> Iterator[tuple[RunHeader, Iterator[FileRow]]]:
    """The runs of a file of JSON lines; lines that cannot be read are counted as rejected.

    The rows of a run are read while they are taken, before the next run.

    Raises:
        FormatError: the first line is of no export of ours.
    """
    lines = _numbered(file.lines())
    found = next(lines, None)
    while found is not None:
        header, found = _header(file.path, *found, lines, tally)
        if header is None:
            continue
        rows = _Rows(header, found, lines, tally)
        yield header, rows
        found = rows.next_run()


def _numbered(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def _header(
    path: Path, number: int, line: str, lines: Iterator[tuple[int, str]], tally: ImportResult
) -> tuple[RunHeader | None, tuple[int, str] | None]:
    """The run of a line, None where it is none, and the next line."""
    header = None
    try:
        type_, values = _parsed(line)
        if type_ == "run":
            header = checked_header(decode(RunHeader, values, check=check_value))
        else:
            _measurement(values, None)
    except DecodeError as error:
        if number == 1:
            raise FormatError(
                f"{path} is not an export of kswatch (line 1: {error}); "
                "write one with `kswatch export --all --format jsonl FILE`"
            ) from None
        tally.reject(number, error)
    return header, next(lines, None)


class _Rows:
    """The measurements that follow a run, up to the next run."""

    def __init__(
        self,
        header: RunHeader,
        first: tuple[int, str] | None,
        lines: Iterator[tuple[int, str]],
        tally: ImportResult,
    ) -> None:
        self._header, self._line, self._lines, self._tally = header, first, lines, tally

    def __iter__(self) -> Iterator[FileRow]:
        return self

    def __next__(self) -> FileRow:
        while self._line is not None:
            number, line = self._line
            try:
                type_, values = _parsed(line)
                if type_ == "run":
                    raise StopIteration
                row = FileRow(number, (_measurement(values, self._header),))
            except DecodeError as error:
                self._tally.reject(number, error)
                self._line = next(self._lines, None)
            else:
                self._line = next(self._lines, None)
                return row
        raise StopIteration

    def next_run(self) -> tuple[int, str] | None:
        """The line of the next run; None at the end of the file. All rows must have been taken."""
        return self._line


def _parsed(line: str) -> tuple[str, dict[str, Any]]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"is not JSON ({error})") from None
    type_ = values.pop("type", None) if isinstance(values, dict) else None
    if type_ not in ("run", "measurement"):
        raise DecodeError('has no "type" run or measurement')
    return type_, values


def _measurement(values: dict[str, Any], header: RunHeader | None) -> MeasurementRecord:
    identity = values.pop("run", None)
    if header is None or identity != header.identity:
        raise DecodeError(f"its run {str(identity)[:80]} is not the one that was read last")
    return checked_record(decode(MeasurementRecord, values, check=check_value))

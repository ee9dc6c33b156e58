"""CSV files: the published forms, and our own flat form for spreadsheets, with one measurement per row.

Our form has no samples, canaries, predictions or free-form facts; JSON lines keep those.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby
from pathlib import Path
from typing import TextIO

from kswatch.db.backend.mapping import field_names
from kswatch.db.decoding import DecodeError, decode
from kswatch.db.interchange import published_models
from kswatch.db.interchange.csv_text import guard, unguard
from kswatch.db.interchange.ingest import MOST_CELLS, FileRow, ImportResult, RunHeader
from kswatch.db.interchange.published_csv import PRODUCT_FORMS, Form
from kswatch.db.interchange.reader import TextFile, csv_rows
from kswatch.db.interchange.validation import check_value, checked_header, checked_record
from kswatch.db.json_text import to_plain
from kswatch.db.records import (
    DeviceRecord,
    EnvironmentRecord,
    MeasurementRecord,
    ProblemKey,
    RevisionRecord,
    RunRecord,
)
from kswatch.errors import FormatError

FORMS: tuple[Form, ...] = (
    *PRODUCT_FORMS,
    Form("end-to-end", published_models.COLUMNS, published_models.read_model_row),
)
FEW_COLUMNS = 2
"""Most columns that a file of a known form may lack; with more missing the form is unknown."""


def read_table(file: TextFile, tally: ImportResult) -> Iterator[tuple[RunHeader, Iterable[FileRow]]]:
    """The runs of a CSV file; rows that cannot be read are counted as rejected.

    Raises:
        FormatError: its columns are of no known form, or one is there twice.
    """
    path, rows = file.path, csv_rows(file.lines())
    _, header = next(rows, (1, ""))
    columns = [name.strip() for name in header] if isinstance(header, list) else []
    columns = ["pattern" if name == "patterns" else name for name in columns]
    if _OWN_COLUMNS[0] in columns:
        _check_columns(path, columns, frozenset(_NEEDED), "our own export")
        return _read_own(columns, rows, tally)
    form = min(FORMS, key=lambda one: len(one.columns - set(columns)))
    if len(form.columns - set(columns)) > FEW_COLUMNS:
        names = "; ".join(f"{one.name}: {', '.join(sorted(one.columns))}" for one in FORMS)
        raise FormatError(
            f"{path} is not in a format that kswatch reads; columns of the known formats are {names}"
        )
    _check_columns(path, columns, form.columns, f"the {form.name} form")
    return _read_published(path, form, columns, rows, tally)


def _check_columns(path: Path, columns: Sequence[str], needed: frozenset[str], form: str) -> None:
    missing = sorted(needed - set(columns))
    if missing:
        raise FormatError(f"{path} lacks column {', '.join(missing)} of {form}; add it and import again")
    twice = sorted(name for name, count in Counter(columns).items() if count > 1)
    if twice:
        raise FormatError(f"{path} has the column {twice[0]!r} twice; remove one of them and import again")


CsvRows = Iterator[tuple[int, list[str] | str]]


def _good_rows(
    columns: Sequence[str], rows: CsvRows, tally: ImportResult
) -> Iterator[tuple[int, dict[str, str]]]:
    for line, found in rows:
        if isinstance(found, str):
            tally.reject(line, found)
        elif len(found) != len(columns):
            tally.reject(line, f"has {len(found)} fields, the header {len(columns)}")
        else:
            yield line, dict(zip(columns, map(unguard, found), strict=True))


def _read_published(
    path: Path, form: Form, columns: Sequence[str], rows: CsvRows, tally: ImportResult
) -> Iterator[tuple[RunHeader, Iterable[FileRow]]]:
    by_model: dict[str, list[FileRow]] = defaultdict(list)
    for number, (line, row) in enumerate(_good_rows(columns, rows, tally)):
        try:
            if number >= MOST_CELLS:  # a run takes no more, and there may be any number of devices
                raise DecodeError(f"the file has more than {MOST_CELLS:,} rows; split it")
            model, records = form.read(row)
            by_model[model].append(FileRow(line, records))
        except DecodeError as error:
            tally.reject(line, error)
    for model, of_device in by_model.items():
        yield _published_run(path, form, model), of_device


def _published_run(path: Path, form: Form, model: str) -> RunHeader:
    """A new run for published rows; their device has no UUID, so that its model identifies it."""
    now = datetime.now(UTC)
    record = RunRecord(
        suite="published",
        device=DeviceRecord(uuid=f"imported:{model}", kind="cuda", model=model),
        environment=EnvironmentRecord(),
        revision=None,
        kind="import",
        origin="imported",
        started_at=now,
        arguments={"file": path.name, "form": form.name},
    )
    return RunHeader(record, identity=None, finished_at=now)


_FREE_FORM = {"facts", "extra", "problem", "samples_ms", "counters"}


def _names(record: type) -> list[str]:
    return [name for name in field_names(record) if name not in _FREE_FORM]


_PROBLEM, _MEASUREMENT = _names(ProblemKey), _names(MeasurementRecord)
_REQUIRED = _PROBLEM[: _PROBLEM.index("subject")]
"""The columns of a problem in every export; those of older versions name no subject."""
_GROUPS: dict[str, list[str]] = {
    "run": ["suite", "kind", "origin", "started_at", "seed", "budget_s", "planned_cells"],
    "ending": ["state", "finished_at", "seconds", "harness_seconds", "excluded"],
    "device": _names(DeviceRecord),
    "environment": _names(EnvironmentRecord),
    "revision": _names(RevisionRecord),
}
_OWN_COLUMNS = [
    "run.identity",
    *(f"{group}.{name}" for group, names in _GROUPS.items() for name in names),
    *_PROBLEM,
    *_MEASUREMENT,
]
_NEEDED = ["run.identity", "run.suite", "run.kind", "run.origin", "run.started_at", "device.uuid"]
_NEEDED += ["device.kind", "device.model", *_REQUIRED, "implementation", "status"]


def write_table(file: TextIO, runs: Iterator[tuple[RunHeader, list[MeasurementRecord]]]) -> int:
    """Write runs in our flat form, and return the number of rows."""
    writer = csv.writer(file)  # its "\r\n" line ends make it quote a bare "\r" within a field
    writer.writerow(_OWN_COLUMNS)
    written = 0
    for header, records in runs:
        of = header.record
        sources = {"run": of, "ending": header, "device": of.device, "environment": of.environment}
        sources["revision"] = of.revision
        values = [getattr(sources[group], name, None) for group, names in _GROUPS.items() for name in names]
        start = [*map(_field, (header.identity, *values))]
        for record in records:
            values = [getattr(record.problem, name) for name in _PROBLEM]
            values += [getattr(record, name) for name in _MEASUREMENT]
            writer.writerow([*start, *map(_field, values)])
            written += 1
    return written


def _field(value: object) -> object:
    if isinstance(value, tuple):
        return guard(",".join(value))
    plain = to_plain(value)
    if isinstance(plain, str):
        return guard(plain)
    return "" if plain is None else repr(plain) if isinstance(plain, float) else plain


def _read_own(
    columns: Sequence[str], rows: CsvRows, tally: ImportResult
) -> Iterator[tuple[RunHeader, Iterable[FileRow]]]:
    good = _good_rows(columns, rows, tally)
    for _, of_run in groupby(good, key=lambda found: found[1]["run.identity"]):
        for line, row in of_run:  # the first one that describes the run
            try:
                header = _own_run(row)
            except DecodeError as error:
                tally.reject(line, error)
            else:
                yield header, _own_rows(chain([(line, row)], of_run), tally)  # noqa: B031  (the last use)
                break


def _own_rows(rows: Iterator[tuple[int, dict[str, str]]], tally: ImportResult) -> Iterator[FileRow]:
    for line, row in rows:
        try:
            yield FileRow(line, (_own_record(row),))
        except DecodeError as error:
            tally.reject(line, error)


def _own_run(row: Mapping[str, str]) -> RunHeader:
    groups = {
        group: {name: row[f"{group}.{name}"] for name in names if row.get(f"{group}.{name}")}
        for group, names in _GROUPS.items()
    }
    run, ending = groups.pop("run"), groups.pop("ending")
    record = {**run, **groups, "revision": groups["revision"] or None}
    values = {**ending, "record": record, "identity": row["run.identity"]}
    return checked_header(decode(RunHeader, values, text=True, check=check_value))


def _own_record(row: Mapping[str, str]) -> MeasurementRecord:
    values: dict[str, object] = {name: row[name] for name in _MEASUREMENT if row.get(name)}
    values["problem"] = {name: row.get(name, "") for name in _PROBLEM}
    return checked_record(decode(MeasurementRecord, values, text=True, check=check_value))

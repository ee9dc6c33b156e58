"""Reports of other benchmark tools as values: nvbench, Google Benchmark, pytest-benchmark, Bencher's format.

Nothing is made up: a name, a unit and a direction are the tool's own, and no pattern is derived from them.
Formats: nvbench's JSON version 1; Google Benchmark's JSON, `json_schema_version` 1; pytest-benchmark 3 to 5;
Bencher Metric Format, as bencher.dev documents it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kswatch.errors import FormatError

LARGEST_REPORT_BYTES = 64_000_000
"""Its values take up to 1.7 GB of memory."""
LONGEST_NAME, LONGEST_UNIT, MOST_LABELS, LONGEST_LABEL = 500, 40, 50, 200
LARGEST_VALUE = 1e30
LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True)
class ForeignValue:
    """One value of a benchmark."""

    name: str
    unit: str
    direction: str | None
    value: float
    low: float | None = None
    high: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ForeignReport:
    """A report: its values, the reasons for those that are left out, and what identifies its run."""

    source: str
    measured_run: str
    measured_at: datetime | None
    commit: str | None
    values: tuple[ForeignValue, ...]
    rejected: tuple[str, ...]


def read_report(path: Path) -> ForeignReport | None:
    """The report in a file; None for a file that is no JSON document of another tool.

    Raises:
        FormatError: it is larger than a report may be, of a version that is not known, or has no value.
    """
    try:
        if not path.is_file():  # a pipe can be read once
            return None
        with path.open("rb") as file:
            if not _may_be_report(file.readline(1_000_000)):
                return None
            if file.seek(0, os.SEEK_END) > LARGEST_REPORT_BYTES:
                megabytes = LARGEST_REPORT_BYTES // 1_000_000
                raise FormatError(f"{path} is larger than {megabytes} MB, more than a report has; split it")
            file.seek(0)
            content = file.read(LARGEST_REPORT_BYTES)
    except (OSError, ValueError):
        return None  # the importer of runs reports why
    try:
        document = json.loads(content, object_pairs_hook=_with_each_name_once)
    except _RepeatedNameError as error:
        raise FormatError(
            f"{path} has {error} twice in one object, so one value is lost; rename it"
        ) from None
    except (ValueError, RecursionError):
        return None
    source = _source_of(document)
    return _report(path, source, document, content) if source else None


class _RepeatedNameError(ValueError):
    """An object of JSON has a name twice, of which a reader keeps the last value alone."""


def _with_each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedNameError(repr(next(name for name in names if names.count(name) > 1)[:60]))
    return found


def _may_be_report(line: bytes) -> bool:
    """Whether a file that begins with this line may be one JSON object, and no export of kswatch."""
    text = line.lstrip(b"\xef\xbb\xbf \t")
    return text.startswith(b"{") and b'"type"' not in text[:40]


def _source_of(document: object) -> str | None:
    if not isinstance(document, dict) or not document:
        return None
    benchmarks = document.get("benchmarks")
    if isinstance(benchmarks, list):
        by_key = {"devices": "nvbench", "context": "google_benchmark", "machine_info": "pytest_benchmark"}
        return next((source for key, source in by_key.items() if key in document), None)
    return "bmf" if all(_is_bmf(one) for one in document.values()) else None


def _is_bmf(measures: object) -> bool:
    return (
        isinstance(measures, dict)
        and bool(measures)
        and all(isinstance(one, dict) and "value" in one for one in measures.values())
    )


def _report(path: Path, source: str, document: dict[str, Any], content: bytes) -> ForeignReport:
    rejected: list[str] = []
    try:
        _check_version(path, source, document)
        found = list(_checked(_READERS[source](document, rejected.append), rejected.append))
        measured_at, commit = _moment_and_commit(source, document)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FormatError(
            f"{path} looks like a report of {source}, but it is damaged ({type(error).__name__}: {error}); "
            "export it again"
        ) from None
    if not found:
        reason = f": {rejected[0]}" if rejected else ""
        raise FormatError(f"{path} is a report of {source} without a value{reason}")
    identity = hashlib.sha256(content).hexdigest()
    return ForeignReport(source, identity, measured_at, commit, tuple(found), tuple(rejected))


def _check_version(path: Path, source: str, document: Mapping[str, Any]) -> None:
    """Refuse a report of a version that is not known to be read rightly."""
    known: tuple[int, ...] = (1,)
    if source == "nvbench":
        version = document.get("meta", {}).get("version", {}).get("json", {}).get("major", 1)
    elif source == "google_benchmark":
        version = document["context"].get("json_schema_version", 1)
    elif source == "pytest_benchmark":
        version, known = int(str(document.get("version", "4")).split(".")[0]), (3, 4, 5)
    else:
        return
    if version not in known:
        raise FormatError(
            f"{path} is a report of {source} in version {str(version)[:20]}; "
            f"known: {', '.join(map(str, known))}. Export it in one of these, or update kswatch"
        )


def _moment_and_commit(source: str, document: Mapping[str, Any]) -> tuple[datetime | None, str | None]:
    if source == "google_benchmark":
        return _moment(document["context"].get("date")), None
    if source == "pytest_benchmark":
        commit = (document.get("commit_info") or {}).get("id")
        return _moment(document.get("datetime")), commit if _COMMIT.fullmatch(str(commit)) else None
    return None, None


_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):  # no date, or one that is outside the calendar in UTC
        return None


def _checked(values: Iterable[ForeignValue], reject: Callable[[str], None]) -> Iterator[ForeignValue]:
    """The values that the store can hold, each name, unit and labels once."""
    seen = set()
    for one in values:
        numbers = [number for number in (one.value, one.low, one.high) if number is not None]
        texts = (one.name, one.unit, *one.labels, *one.labels.values())
        key = (one.name, one.unit, *sorted(one.labels.items()))
        if not all(math.isfinite(number) and abs(number) < LARGEST_VALUE for number in numbers):
            reject(f"{one.name[:60]}: {one.value} is no plausible number")
        elif one.low is not None and one.high is not None and one.low > one.high:
            reject(f"{one.name[:60]}: its interval ends before it begins")
        elif len(one.name) > LONGEST_NAME or len(one.unit) > LONGEST_UNIT or len(one.labels) > MOST_LABELS:
            reject(f"{one.name[:60]}: a name, unit or list of labels that is too long")
        elif any(len(text) > LONGEST_NAME or "\0" in text or not _is_whole(text) for text in texts):
            reject(f"{one.name[:60]!r}: a text that no database stores")
        elif key in seen:
            reject(f"{one.name[:60]}: it is there twice")
        else:
            seen.add(key)
            yield one


def _is_whole(text: str) -> bool:
    """Whether the text has no half character."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _number(value: object) -> float:
    """A number of JSON; infinite where it is too large for any.

    Raises:
        TypeError: it is a text, a truth value or a container.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _written_number(value: object) -> float:
    """A number in the text that nvbench writes."""
    return float(value) if isinstance(value, str) and "_" not in value else _number(value)


_NVBENCH_HINTS = {"duration": ("s", LOWER), "item_rate": ("items/s", HIGHER), "byte_rate": ("B/s", HIGHER)}


def _read_nvbench(document: dict[str, Any], reject: Callable[[str], None]) -> Iterator[ForeignValue]:
    names = {device["id"]: str(device["name"]) for device in document["devices"]}
    for benchmark in document["benchmarks"]:
        for state in benchmark["states"]:
            if state.get("is_skipped"):
                reject(f"{benchmark['name']}: {state.get('skip_reason') or 'skipped'}")
                continue
            labels = {str(axis["name"]): str(axis["value"]) for axis in state.get("axis_values") or ()}
            if state.get("device") in names:
                labels["device"] = names[state["device"]]
            for summary in state.get("summaries") or ():
                if summary.get("hint") in _NVBENCH_HINTS:
                    unit, direction = _NVBENCH_HINTS[summary["hint"]]
                    value = next(one["value"] for one in summary["data"] if one["name"] == "value")
                    name = f"{benchmark['name']} {summary.get('name') or summary['tag']}"
                    yield ForeignValue(name, unit, direction, _written_number(value), labels=labels)


_GOOGLE_FIELDS = {"items_per_second": ("items/s", HIGHER), "bytes_per_second": ("B/s", HIGHER)}
_GOOGLE_TIMES = ("real_time", "cpu_time")


def _read_google(document: dict[str, Any], reject: Callable[[str], None]) -> Iterator[ForeignValue]:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in document["benchmarks"]:
        name = str(row.get("run_name") or row["name"])
        if row.get("error_occurred"):
            reject(f"{name}: {row.get('error_message') or 'it failed'}")
        elif row.get("run_type", "iteration") == "iteration" or row.get("aggregate_name") == "median":
            by_name.setdefault(name, []).append(row)
    for name, rows in by_name.items():
        medians = [row for row in rows if row.get("aggregate_name") == "median"]
        repeated = [row for row in rows if row.get("run_type", "iteration") == "iteration"]
        for measure in (*_GOOGLE_TIMES, *_GOOGLE_FIELDS):
            values = [_number(row[measure]) for row in repeated or medians if measure in row]
            if values:
                usual = (str(rows[0].get("time_unit", "ns")), LOWER)
                unit, direction = _GOOGLE_FIELDS.get(measure, usual)
                middle = _number(medians[0][measure]) if medians else statistics.median(values)
                spread = (min(values), max(values)) if len(values) > 1 else (None, None)
                yield ForeignValue(f"{name} {measure}", unit, direction, middle, *spread)


def _read_pytest(document: dict[str, Any], reject: Callable[[str], None]) -> Iterator[ForeignValue]:
    del reject
    for row in document["benchmarks"]:
        labels = {str(name): str(value)[:LONGEST_LABEL] for name, value in (row.get("params") or {}).items()}
        stats = row["stats"]
        low, high = (_number(stats[end]) if end in stats else None for end in ("q1", "q3"))
        name = str(row.get("fullname") or row["name"])
        yield ForeignValue(name, "s", LOWER, _number(stats["median"]), low, high, labels)


_BMF_MEASURES = {"latency": ("ns", LOWER), "throughput": ("ops/s", HIGHER)}
"""Bencher's built-in measures of time; of others neither unit nor direction is known."""


def _read_bmf(document: dict[str, Any], reject: Callable[[str], None]) -> Iterator[ForeignValue]:
    del reject
    for name, measures in document.items():
        for measure, metric in measures.items():
            unit, direction = _BMF_MEASURES.get(measure, (str(measure), None))
            low, high = (metric.get(key) for key in ("lower_value", "upper_value"))
            yield ForeignValue(
                f"{name} {measure}",
                unit,
                direction,
                _number(metric["value"]),
                None if low is None else _number(low),
                None if high is None else _number(high),
            )


_READERS: dict[str, Callable[[dict[str, Any], Callable[[str], None]], Iterator[ForeignValue]]] = {
    "nvbench": _read_nvbench,
    "google_benchmark": _read_google,
    "pytest_benchmark": _read_pytest,
    "bmf": _read_bmf,
}

"""Labelled series: measurements with the changes that people marked, from JSON or CSV files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kswatch.db.statistics import MAD_TO_SIGMA
from kswatch.errors import UsageError

Floats = NDArray[np.float64]

FORM = (
    'write JSON as {"NAME": {"series": [8.4, 8.7, ...], "changes": [551]}}, '
    "or CSV with the columns value and change (1 on the first point of a new level) and, for several series, "
    "series"
)
FEWEST_POINTS = 2


@dataclass(frozen=True)
class LabelledSeries:
    """One measurement a night, and the first nights of the levels that people marked."""

    name: str
    values: tuple[float, ...]
    """From 0 on; NaN where nothing was measured."""
    changes: tuple[int, ...]
    """0-based, ascending."""

    @cached_property
    def levels(self) -> Floats:
        """The median of each night's marked level, `(nights,)`."""
        values, bounds = np.array(self.values), [0, *self.changes, len(self.values)]
        middles = [_median(values[first:end]) for first, end in zip(bounds, bounds[1:], strict=False)]
        return np.repeat(middles, np.diff(bounds))

    @cached_property
    def residuals(self) -> Floats:
        """The distances from the marked levels, `(nights,)`; NaN where nothing was measured."""
        return np.array(self.values) - self.levels

    @cached_property
    def noise_unit(self) -> float:
        """The standard deviation of the residuals by their MAD: median |residual| x 1.4826."""
        return MAD_TO_SIGMA * _median(np.abs(self.residuals))

    def part(self, first: int, end: int | None) -> LabelledSeries:
        """The nights from `first` to before `end`, or to the last one."""
        values = self.values[first:end]
        changes = tuple(one - first for one in self.changes if 0 < one - first < len(values))
        return LabelledSeries(self.name, values, changes)

    def size(self, change: int) -> float:
        """A marked change in noise units; infinite in a series without noise."""
        step = abs(self.levels[change] - self.levels[change - 1])
        return float(step / self.noise_unit) if self.noise_unit else math.inf


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def read_labelled_series(path: Path) -> list[LabelledSeries]:
    """The series of a JSON or CSV file, or of all such files of a folder, sorted by name.

    Raises:
        UsageError: there is no such file, or a file has another form; the message names the cure.
    """
    if not path.exists():
        raise UsageError(f"there is no {path}; name a file or a folder of labelled series")
    files = [path]
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.suffix.lower() in _READERS)
        if not files:
            raise UsageError(f"{path} holds no .json or .csv file; {FORM}")
    found = [one for file in files for one in _read_file(file)]
    names = [one.name for one in found]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"{path}: several series are named {min(repeated)}; give each a name of its own")
    return sorted(found, key=lambda one: one.name)


def _read_file(path: Path) -> list[LabelledSeries]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path} is neither .json nor .csv; {FORM}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from None
    found = reader(path, text)
    if not found:
        raise UsageError(f"{path} holds no series; {FORM}")
    return found


def _from_json(path: Path, text: str) -> list[LabelledSeries]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({error}); {FORM}") from None
    if not isinstance(document, Mapping):
        raise UsageError(f"{path} holds no object of series by name; {FORM}")
    found = []
    for name, entry in document.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("series"), list):
            raise UsageError(f"{path}: series {name!r} has no list `series`; {FORM}")
        if not isinstance(entry.get("changes", []), list):
            raise UsageError(f"{path}: `changes` of series {name!r} is no list of indices; {FORM}")
        found.append(_checked(f"{path}: series {name!r}", name, entry["series"], entry.get("changes", [])))
    return found


def _from_csv(path: Path, text: str) -> list[LabelledSeries]:
    rows = csv.DictReader(text.splitlines())
    if "value" not in (rows.fieldnames or ()):
        raise UsageError(f"{path} has no column `value`; {FORM}")
    values: dict[str, list[Any]] = {}
    changes: dict[str, list[int]] = {}
    for row in rows:
        name = row.get("series") or path.stem
        of = values.setdefault(name, [])
        mark = (row.get("change") or "0").strip()
        if mark not in ("0", "1"):
            raise UsageError(f"{path}, line {rows.line_num}: change is {mark!r}, neither 0 nor 1; {FORM}")
        if mark == "1":
            changes.setdefault(name, []).append(len(of))
        of.append(row["value"])
    where = {name: f"{path}: series {name!r}" for name in values}
    return [_checked(where[name], name, of, changes.get(name, [])) for name, of in values.items()]


def _checked(where: str, name: str, values: Sequence[Any], changes: Sequence[Any]) -> LabelledSeries:
    numbers = tuple(_number(where, index, value) for index, value in enumerate(values))
    if len(numbers) < FEWEST_POINTS or not np.isfinite(numbers).any():
        raise UsageError(f"{where} has fewer than {FEWEST_POINTS} points; leave it out, or add its points")
    for change in changes:
        inside = isinstance(change, int) and not isinstance(change, bool) and 0 < change < len(numbers)
        if not inside:
            raise UsageError(
                f"{where}: change {change!r} is no index from 1 to {len(numbers) - 1}; "
                "count from 0 and name the first point of each new level"
            )
    return LabelledSeries(name, numbers, tuple(sorted(set(changes))))


def _number(where: str, index: int, value: object) -> float:
    """A point; an empty one is a night without a measurement."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan")):
        return math.nan
    try:
        number = float(value) if isinstance(value, str | int | float) and value is not True else math.nan
    except (ValueError, OverflowError):
        number = math.inf
    if isinstance(value, float) and math.isnan(value):
        return math.nan
    if not 0 <= number < math.inf:
        raise UsageError(
            f"{where}: point {index} is {value!r}; points are numbers from 0 on, null or empty where missing"
        )
    return number


_READERS = {".json": _from_json, ".csv": _from_csv}

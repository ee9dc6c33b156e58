"""The `[db]` table of kswatch.toml, and the ranges of all its numbers."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints
from urllib.parse import quote

from kswatch.errors import ConfigurationError


@dataclass(frozen=True)
class KeyRange:
    """The range and unit of a number in kswatch.toml: metadata of a field, checked when the file is read."""

    most: float
    least: float | None = None
    above: float | None = None
    """A limit that is not reached itself; one of `least` and `above` is given."""
    unit: str = ""

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range; NaN lies in none."""
        low = value > self.above if self.above is not None else self.least is not None and value >= self.least
        return low and value <= self.most

    def __str__(self) -> str:
        """The range in words, as in `above 0 and at most 86400 seconds`."""
        low = f"at least {self.least:g}" if self.above is None else f"above {self.above:g}"
        return f"{low} and at most {self.most:g}" + (f" {self.unit}" if self.unit else "")


def check_ranges(section: str, table: Any) -> None:  # noqa: ANN401  (any table of kswatch.toml)
    """Check the numbers of a table of kswatch.toml, however it was made.

    Raises:
        ConfigurationError: a number lies out of its range, or is none (NaN); the message has both.
    """
    kind: type = type(table)
    for key, limits in _ranges(kind).items():
        value = getattr(table, key)
        if not limits.holds(value):
            raise ConfigurationError(f"{section}.{key} = {value} must be {limits}")


def range_text(table: type, key: str) -> str:
    """The range of a key in words, after a space; empty where it has none."""
    limits = _ranges(table).get(key)
    return f" {limits}" if limits else ""


@cache
def _ranges(table: type) -> dict[str, KeyRange]:
    hints = get_type_hints(table, include_extras=True)
    return {
        key: next(one for one in get_args(hint) if isinstance(one, KeyRange))
        for key, hint in hints.items()
        if any(isinstance(one, KeyRange) for one in get_args(hint))
    }


Count = Annotated[int, KeyRange(1_000_000, least=1)]
Share = Annotated[float, KeyRange(1, above=0, unit="(a share: 0.02 is 2 %)")]
Seconds = Annotated[float, KeyRange(30 * 86_400, above=0, unit="seconds")]
Minutes = Annotated[float, KeyRange(100_000, above=0, unit="minutes")]


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request by a user; scheduled ones have none."""

    request_cells: Annotated[int, KeyRange(1_000_000_000, least=1)] = 30_000
    """Most cells of one request."""

    request_minutes: Minutes = 240.0
    """Longest estimated duration of one request, in minutes."""

    requests_per_hour: Count = 30
    """Most requests of one user within an hour."""

    def __post_init__(self) -> None:
        check_ranges("db", self)

    def refusal(self, cells: int | None, seconds: float | None) -> str | None:
        """The reason why a run of this size is refused, with the cure; None where it is accepted."""
        cure = "choose fewer patterns, batches or precisions, or give a budget"
        if cells is not None and cells > self.request_cells:
            return f"{cells:,} cells are more than one request may have ({self.request_cells:,}); {cure}"
        if seconds is not None and seconds > 60 * self.request_minutes:
            limit = f"one request may take {self.request_minutes:g}"
            return f"it would take about {seconds / 60:,.0f} minutes; {limit}; {cure}"
        return None


def file_url(path: Path) -> str:
    """The URL of a SQLite file, whatever its name holds: `?` would begin another part of it, `%` a code."""
    place = re.sub(r"[%?#\s]", lambda found: quote(found[0]), os.path.abspath(path))
    return f"sqlite:///{place}"


@dataclass(frozen=True)
class DbConfig(RequestLimits):
    """The store that commands open unless KSWATCH_DATABASE_URL names another, and limits of requests."""

    url: str = ""
    """sqlite:///path or postgresql://user@host/name (passwords belong in the environment); kswatch.db
    beside kswatch.toml where it is empty."""

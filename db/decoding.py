"""From plain values (of JSON, CSV or the store) to records, refusing those of another type, or damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from kswatch.errors import StoreError

Check = Callable[[type, str, object], None]
"""Called with the record, name and value of each number, text and free-form value.

It may refuse one by raising `DecodeError`.
"""


MOST_DIGITS = 18
"""Of a whole number that a store holds."""


class DecodeError(ValueError):
    """A field that is unknown, missing, or has a value that it cannot have; the message names it."""


def decode(
    record: type,
    values: Mapping[str, Any],
    *,
    text: bool = False,
    check: Check | None = None,
) -> Any:  # noqa: ANN401  (an instance of `record`)
    """A record of this class, a dataclass or a named tuple, from plain values by field name.

    With `text` the values are text, as in CSV, and an empty one is absent. Absent ones take their default.

    Raises:
        DecodeError: a field is unknown, missing, or has a value that it cannot have.
    """
    hints = _hints(record)
    unknown = sorted(values.keys() - hints.keys())
    if unknown:
        raise DecodeError(f"unknown field {_shown(unknown[0])}")
    given = {name: value for name, value in values.items() if not (text and value == "")}
    for name in _required(record):
        if name not in given:
            raise DecodeError(f"{name} is missing")
    field = _FieldDecoder(record, text, check)
    return record(**{name: field.decode(name, hints[name], value) for name, value in given.items()})


@cache
def _hints(record: type) -> dict[str, Any]:
    return get_type_hints(record)


@cache
def _required(record: type) -> tuple[str, ...]:
    """Names of the fields without default."""
    if issubclass(record, tuple):
        return tuple(name for name in _hints(record) if name not in record._field_defaults)  # type: ignore[attr-defined]
    absent = (field for field in fields(record) if field.default is MISSING)  # type: ignore[arg-type]
    return tuple(field.name for field in absent if field.default_factory is MISSING)


class _FieldDecoder:
    """Decodes the fields of one record."""

    def __init__(self, record: type, text: bool, check: Check | None) -> None:
        self._record, self._text, self._check = record, text, check

    def decode(self, name: str, wanted: Any, value: Any) -> Any:  # noqa: ANN401  (of the type that is wanted)
        """The value of a field as its type wants it."""
        origin, arguments = get_origin(wanted), get_args(wanted)
        if origin in (Union, UnionType):
            if value is None:
                return None
            return self.decode(name, next(kind for kind in arguments if kind is not type(None)), value)
        if origin is Literal:
            if value not in arguments:
                raise DecodeError(f"{name} is {_shown(value)}, not one of {', '.join(map(str, arguments))}")
            return value
        if origin is tuple:
            parts = value.split(",") if self._text and isinstance(value, str) else value
            if not isinstance(parts, list):
                raise DecodeError(f"{name} is {_shown(value)}, not a list")
            return tuple(self.decode(name, arguments[0], part) for part in parts)
        if isinstance(wanted, type) and (is_dataclass(wanted) or hasattr(wanted, "_fields")):
            return decode(wanted, _mapping(name, value), text=self._text, check=self._check)
        if origin is dict or wanted is dict:
            return self._checked(name, _mapping(name, value))
        return self._checked(name, self._scalar(name, wanted, value))

    def _scalar(self, name: str, wanted: type, value: object) -> object:
        try:
            if wanted is datetime:
                return aware_time(str(value))
            if wanted is Path and isinstance(value, str):
                return Path(value)
            if self._text and wanted is not str:
                value = _from_text(wanted, str(value))
            if wanted is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
        except (ValueError, OverflowError):
            raise DecodeError(f"{name} is {_shown(value)}, not {_NAMES[wanted]}") from None
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise DecodeError(f"{name} is {_shown(value)}, not {_NAMES[wanted]}")
        return value

    def _checked(self, name: str, value: object) -> object:
        if self._check is not None:
            self._check(self._record, name, value)
        return value


def _mapping(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DecodeError(f"{name} is {_shown(value)}, not an object")
    return value


def _shown(value: object) -> str:
    """The value in a message: shortened, since a file may hold anything."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


_NAMES: dict[type, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    datetime: "a time with its zone",
    Path: "a path",
}


def _from_text(wanted: type, text: str) -> object:
    if wanted is bool:
        return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else text
    return wanted(text)


def aware_time(text: str) -> datetime:
    """The time that ISO 8601 text names.

    Raises:
        ValueError: it is none, or has no zone.
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"time {text} has no zone")
    return time.astimezone(UTC)


class DamagedValueError(StoreError):
    """A value in the store that no version of kswatch wrote: the file was damaged, or changed by hand."""

    def __init__(self, wanted: str, value: object) -> None:
        super().__init__(
            f"the store is damaged: it holds {repr(value)[:60]} in place of {wanted}; "
            "read it with `kswatch db check`, and put a backup in its place"
        )


def read_time(text: str | None) -> datetime | None:
    """The UTC time of SQLite's text.

    Raises:
        DamagedValueError: it is none.
    """
    try:
        # replacing the zone afterwards would take ten times as long
        return None if text is None else datetime.fromisoformat(f"{text}+00:00")
    except ValueError:
        raise DamagedValueError("a time", text) from None


def read_json(text: str | bytes) -> Any:  # noqa: ANN401  (any value of JSON)
    """The value of JSON text.

    Raises:
        DamagedValueError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedValueError("JSON", text) from None


def whole_number(text: str, most_digits: int = MOST_DIGITS) -> int | None:
    """The number that a text of ASCII digits is; None for another text, and for one with more digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= most_digits else None

"""From plain values (JSON, TOML, or the text of a CSV field) to records, refusing values of another type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Check = Callable[[str, object], None]
"""Called with the name and value of each number, which it may refuse by raising `DecodeError`."""


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
        raise DecodeError(f"unknown field {unknown[0]!r}")
    given = {name: value for name, value in values.items() if not (text and value == "")}
    for name in _required(record):
        if name not in given:
            raise DecodeError(f"{name} is missing")
    return record(**{name: _value(name, hints[name], value, text, check) for name, value in given.items()})


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


def _value(name: str, wanted: Any, value: Any, text: bool, check: Check | None) -> Any:  # noqa: ANN401
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, UnionType):
        if value is None:
            return None
        return _value(name, next(kind for kind in arguments if kind is not type(None)), value, text, check)
    if origin is Literal:
        if value not in arguments:
            raise DecodeError(f"{name} is {value!r}, not one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        parts = value.split(",") if text and isinstance(value, str) else value
        if not isinstance(parts, list):
            raise DecodeError(f"{name} is {value!r}, not a list")
        return tuple(_value(name, arguments[0], part, text, check) for part in parts)
    is_record = isinstance(wanted, type) and (is_dataclass(wanted) or hasattr(wanted, "_fields"))
    if is_record or origin is dict or wanted is dict:
        if not isinstance(value, Mapping):
            raise DecodeError(f"{name} is {value!r}, not an object")
        return decode(wanted, value, text=text, check=check) if is_record else value
    return _scalar(name, wanted, value, text, check)


def _scalar(name: str, wanted: type, value: object, text: bool, check: Check | None) -> object:
    try:
        if wanted is datetime:
            return aware_time(str(value))
        if wanted is Path and isinstance(value, str):
            return Path(value)
        if text and wanted is not str:
            value = _from_text(wanted, str(value))
    except (ValueError, OverflowError):
        raise DecodeError(f"{name} is {value!r}, not {_NAMES[wanted]}") from None
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise DecodeError(f"{name} is {value!r}, not {_NAMES[wanted]}")
    if check is not None and isinstance(value, int | float):
        check(name, value)
    return value


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

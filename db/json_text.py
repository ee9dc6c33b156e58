"""One JSON document for scripts: null never NaN, times in UTC, dataclasses as objects."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from numbers import Integral, Real
from pathlib import PurePath

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


def to_json_text(value: object, indent: int | None = 2) -> str:
    """The value as JSON text; `indent=None` gives one line, for JSON-lines files."""
    return json.dumps(to_plain(value), indent=indent, allow_nan=False, ensure_ascii=False)


def to_plain(value: object) -> Plain:
    """The value in the types of JSON; NaN and infinities become None.

    Raises:
        TypeError: the value, or something inside it, has no plain form.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"time {value} has no zone")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return _plain_container(value)


def _plain_container(value: object) -> Plain:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return [to_plain(item) for item in sorted(value)]
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, Enum):
        return to_plain(value.value)
    if isinstance(value, PurePath | date):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars, without importing numpy
        return to_plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")

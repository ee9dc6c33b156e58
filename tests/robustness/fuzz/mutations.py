"""Files for import with one or a few faults in them, as editors, copies and other programs make them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

NUMBERS: tuple[Any, ...] = (
    0,
    -1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**310,
    1e308,
    1.5,
    float("nan"),
    float("inf"),
    5e-324,
)
NUMBERS += (True, None, 2**31 - 1, 1e30, -0.0)
TEXTS = (
    "",
    "\0",
    "a\0b",
    "\ud800",
    "x" * 5_000,
    "NaN",
    "9" * 310,
    "2026-13-45T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
)
TEXTS += (
    "2026-01-01",
    "\x1b[31m",
    "\u202e",
    "=cmd()",
    "true",
    "1e5",
    "∞",
    "\ufeff",
    "\r",
    "a\nb",
    "9999-12-31T23:59:59-23:59",
)
NESTED: tuple[Any, ...] = (
    [],
    {},
    [[]],
    {"": {}},
    [None],
    {"\0": 1},
    {"a": "\ud800"},
    [10**310],
    {"a": float("nan")},
    "deep",
)


def deep(levels: int = 400) -> str:
    """JSON of so many levels."""
    return "[" * levels + "]" * levels


def hostile_value(randomness: random.Random) -> Any:
    """A number, text or nesting that a field cannot have, or hardly."""
    return randomness.choice(randomness.choice((NUMBERS, TEXTS, NESTED)))


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything inside a value of JSON."""
    if at:
        yield at
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, below in children:
        yield from places(below, (*at, key))


def _changed_field(line: str, randomness: random.Random) -> str:
    """The line of JSON with one value replaced, removed, or beside an unknown one."""
    try:
        value = json.loads(line)
    except ValueError:  # it has another fault already
        return _changed_cell(line, randomness)
    *path, last = randomness.choice(list(places(value)))
    holder = value
    for key in path:
        holder = holder[key]
    kind = randomness.randrange(6)
    if kind == 0:
        del holder[last]
    elif kind == 1 and isinstance(holder, dict):
        holder["unknown"] = 1
    else:
        holder[last] = hostile_value(randomness)
    return json.dumps(value).replace('"deep"', deep())


def _changed_cell(line: str, randomness: random.Random) -> str:
    """The line of CSV with one field replaced."""
    fields = line.split(",")
    value = hostile_value(randomness)
    text = value if isinstance(value, str) else json.dumps(value)
    fields[randomness.randrange(len(fields))] = text.replace('"', '""')
    return ",".join(fields)


def _changed_line(lines: list[str], randomness: random.Random) -> list[str]:
    at = randomness.randrange(len(lines))
    change = _changed_field if lines[at].startswith("{") else _changed_cell
    return [*lines[:at], change(lines[at], randomness), *lines[at + 1 :]]


def _removed(lines: list[str], randomness: random.Random) -> list[str]:
    at = randomness.randrange(len(lines))
    return lines[:at] + lines[at + 1 :]


def _repeated(lines: list[str], randomness: random.Random) -> list[str]:
    return [*lines, randomness.choice(lines)]


def _shuffled(lines: list[str], randomness: random.Random) -> list[str]:
    return randomness.sample(lines, len(lines))


def _joined(lines: list[str], randomness: random.Random) -> list[str]:
    at = randomness.randrange(len(lines))
    return [*lines[:at], "".join(lines[at : at + 2]), *lines[at + 2 :]]


def _quoted(lines: list[str], randomness: random.Random) -> list[str]:
    at = randomness.randrange(len(lines))
    place = randomness.randrange(len(lines[at]) + 1)
    sign = randomness.choice(('"', ",", "\r", "\0", "\n", "{", "\ufeff", "\x85", "\u2028", "\\"))
    return [*lines[:at], lines[at][:place] + sign + lines[at][place:], *lines[at + 1 :]]


_LINES: tuple[Callable[[list[str], random.Random], list[str]], ...] = (
    _changed_line,
    _changed_line,
    _changed_line,
)
_LINES += (_removed, _repeated, _shuffled, _joined, _quoted, _quoted)


def mutated(lines: list[str], randomness: random.Random) -> tuple[bytes, str]:
    """The bytes of a file with one to three faults, and the suffix of its name."""
    for _ in range(randomness.choice((1, 1, 1, 2, 3))):
        lines = randomness.choice(_LINES)(lines or [""], randomness)
    end = randomness.choice(("\n", "\n", "\n", "\r\n"))
    content = (end.join(lines) + end * randomness.randrange(2)).encode("utf-8", "surrogatepass")
    kind = randomness.randrange(12)
    if kind == 0:
        content = content[: randomness.randrange(len(content) + 1)]
    elif kind == 1 and content:
        at = randomness.randrange(len(content))
        content = content[:at] + randomness.randbytes(randomness.choice((1, 8))) + content[at + 1 :]
    elif kind == 2:
        packed = gzip.compress(content, 1)
        return packed[
            : randomness.choice((len(packed), len(packed), randomness.randrange(len(packed))))
        ], ".gz"
    return content, ""

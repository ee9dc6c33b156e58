"""The picture of the data model: a box for each table, a line for each foreign key, as inline SVG."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from sqlalchemy import Table

WIDTH, HEIGHT, GAP_X, GAP_Y = 132, 24, 78, 10

References = Mapping[str, set[str]]
"""The tables that a table refers to, by its name."""


def references(tables: Mapping[str, Table]) -> dict[str, set[str]]:
    """The foreign keys between tables, without those that others imply.

    A measurement names its run and its device; since a run names its device, that line is left out.
    """
    direct = {
        name: {key.column.table.name for key in table.foreign_keys} - {name} for name, table in tables.items()
    }
    return {
        name: {one for one in found if not _implied(direct, found, one)} for name, found in direct.items()
    }


def _implied(direct: References, found: set[str], target: str) -> bool:
    return any(target in _reached(direct, other) for other in found - {target})


def _reached(direct: References, start: str) -> set[str]:
    found = set(direct[start])
    for name in direct[start]:
        found |= _reached(direct, name)
    return found


def columns(drawn: References) -> list[list[str]]:
    """Tables by the longest way to one that refers to none, near to what they refer to; lone ones last."""
    used = {name for found in drawn.values() for name in found}
    by_depth: dict[int, list[str]] = defaultdict(list)
    for name in sorted(drawn):
        by_depth[_depth(drawn, name)].append(name)
    by_depth[0].sort(key=lambda name: name not in used)
    place: dict[str, float] = {}
    for depth in sorted(by_depth):
        by_depth[depth].sort(key=lambda name: _mean([place[one] for one in drawn[name]]))
        place |= {name: row / len(by_depth[depth]) for row, name in enumerate(by_depth[depth])}
    return [by_depth[depth] for depth in sorted(by_depth)]


def _depth(drawn: References, name: str) -> int:
    return 1 + max((_depth(drawn, one) for one in drawn[name]), default=-1)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def svg(tables: Mapping[str, Table]) -> str:
    """The picture; each box links to its table's section of the page, colours are those of the page."""
    drawn = references(tables)
    laid_out = columns(drawn)
    tallest = max(map(len, laid_out))
    places = {
        name: (column * (WIDTH + GAP_X), (row + (tallest - len(names)) / 2) * (HEIGHT + GAP_Y))
        for column, names in enumerate(laid_out)
        for row, name in enumerate(names)
    }
    size = f"0 -2 {len(laid_out) * (WIDTH + GAP_X) - GAP_X} {tallest * (HEIGHT + GAP_Y)}"
    body = "".join([*_lines(drawn, places), *map(_box, places, places.values())])
    style = 'font-family="inherit" font-size="13" fill="none" stroke="currentColor"'
    title = "Tables of the store; a line leads from a table to one that it refers to"
    return f'<svg viewBox="{size}" role="img" aria-label="{title}" {style}>{body}</svg>'


def _lines(drawn: References, places: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    for name, found in drawn.items():
        x, y = places[name]
        for target in sorted(found):
            to_x, to_y = places[target][0] + WIDTH, places[target][1] + HEIGHT / 2
            y_middle, bend = y + HEIGHT / 2, (x - to_x) / 2
            curve = f"M{to_x} {to_y}C{to_x + bend} {to_y} {x - bend} {y_middle} {x} {y_middle}"
            yield f'<path d="{curve}" opacity=".45"/>'


def _box(name: str, place: tuple[float, float]) -> str:
    x, y = place
    label = f'<text x="{x + 8}" y="{y + 17}" fill="currentColor" stroke="none">{name}</text>'
    return f'<a href="#{name}"><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>{label}</a>'

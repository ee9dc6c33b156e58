"""The colours: an implementation looks the same on every chart, light or dark.

Chosen by search so that any two can be distinguished in normal vision and under simulated protanopia,
deuteranopia and tritanopia, and contrast with a white and a nearly black page. Symbols repeat the colours.
"""

from __future__ import annotations

from collections.abc import Iterator

IMPLEMENTATION_STYLES: tuple[tuple[str, str, str], ...] = (
    ("fused", "#E4572E", "circle"),
    ("bmm", "#1F56B3", "square"),
    ("bmm_strided", "#3C8DF5", "diamond"),
    ("bmm_blockdense", "#16BE86", "triangle-up"),
    ("einsum", "#D88BE8", "x"),
    ("bsr", "#E9A11B", "triangle-down"),
    ("csr", "#96A757", "cross"),
    ("dense", "#80586E", "star"),
)
IMPLEMENTATION_COLOURS = {name: colour for name, colour, _ in IMPLEMENTATION_STYLES}
IMPLEMENTATION_SYMBOLS = {name: symbol for name, _, symbol in IMPLEMENTATION_STYLES}

ACCENT = IMPLEMENTATION_COLOURS["fused"]
"""The fused kernel: its speedup, its trend."""

QUIET = "#8A919C"
"""Reference lines, counts and secondary text; readable on light and dark pages."""

GOOD = "#3C8DF5"
BAD = "#E4572E"
UNSURE = "#E9A11B"

GROUP_COLOURS: tuple[str, ...] = ("#3C8DF5", "#E9A11B", "#1B8857", "#D88BE8", "#1F56B3", "#80586E")
"""Groups that are not implementations (precisions, layouts, families), in order of appearance."""

DASHES: tuple[str, ...] = ("solid", "dash", "dot")


def group_lines() -> Iterator[dict[str, object]]:
    """Line styles of successive groups; after the last colour the dash changes."""
    for dash in DASHES:
        for colour in GROUP_COLOURS:
            yield {"color": colour, "dash": dash, "width": 2}


DIVERGING: list[tuple[float, str]] = [
    (0.0, "#B23A17"),
    (0.25, "#EE9A7C"),
    (0.5, "#F1EFEC"),
    (0.75, "#82B4F0"),
    (1.0, "#1F56B3"),
]
"""From slower than the best baseline to faster, break-even in the middle."""


def implementation_colour(name: str) -> str:
    """The colour of an implementation; grey for a name this version does not know."""
    return IMPLEMENTATION_COLOURS.get(name, QUIET)


def translucent(colour: str, alpha: float) -> str:
    """The colour as `rgba(...)` with `alpha` from 0 to 1."""
    red, green, blue = (int(colour[index : index + 2], 16) for index in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"

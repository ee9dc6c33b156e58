"""The colours: an implementation looks the same on every chart, in a light and in a dark shade.

Charts are drawn in the light shades; `components.dark_figure.in_dark` exchanges each for its twin. Chosen
by search so that any two implementations can be distinguished in normal vision and under simulated
protanopia, deuteranopia and tritanopia, and every mark contrasts with its page by 3:1 (text by 4.5:1).
Symbols repeat the colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kswatch.declared.implementations import DECLARED, Mark

TEXT = "#3C4453"
"""Axes, legends and annotations."""

QUIET = "#69727F"
"""Reference lines, counts and secondary text."""
QUIET_ON_DARK = "#9AA3AF"

SPARE_MARKS: tuple[Mark, ...] = (
    Mark("#E15AB4", "#C3FFFF", "star-diamond"),
    Mark("#9600FF", "#FFE169", "triangle-left"),
    Mark("#2D003C", "#A53C96", "triangle-right"),
)
"""Of implementations that are declared without a mark, in the order of their lines."""
NO_MARK = Mark(QUIET, QUIET_ON_DARK, "circle-open")
"""Of further ones, and of those that this version does not know."""


def _marks() -> dict[str, Mark]:
    spare = iter(SPARE_MARKS)
    return {one.name: one.mark or next(spare, NO_MARK) for one in DECLARED}


IMPLEMENTATION_MARKS = _marks()
IMPLEMENTATION_STYLES = tuple((name, one.light, one.symbol) for name, one in IMPLEMENTATION_MARKS.items())
IMPLEMENTATION_COLOURS = {name: one.light for name, one in IMPLEMENTATION_MARKS.items()}
IMPLEMENTATION_SYMBOLS = {name: one.symbol for name, one in IMPLEMENTATION_MARKS.items()}

ACCENT = IMPLEMENTATION_COLOURS["fused"]
"""The fused kernel: its speedup, its trend."""

GOOD = "#2272D8"
BAD = "#BF3302"
UNSURE = "#A86F00"

GROUP_COLOURS: tuple[str, ...] = ("#1F6FD5", "#A66D00", "#1B8857", "#A64FB8", "#123A80", "#80586E")
"""Groups that are not implementations (precisions, layouts, families), in order of appearance."""

DIVERGING: list[tuple[float, str]] = [
    (0.0, "#B23A17"),
    (0.25, "#EE9A7C"),
    (0.5, "#F1EFEC"),
    (0.75, "#82B4F0"),
    (1.0, "#1F56B3"),
]
"""From slower than the best baseline to faster, break-even in the middle; the same on both pages."""

DARK: dict[str, str] = {
    **{one.light: one.dark for one in (*IMPLEMENTATION_MARKS.values(), *SPARE_MARKS)},
    **dict(
        zip(
            GROUP_COLOURS,
            ("#5AA2FF", "#FFB02E", "#4AD39A", "#E39BF0", "#93A9F0", "#BD9BA6"),
            strict=True,
        )
    ),
    TEXT: "#CDD3DC",
    QUIET: QUIET_ON_DARK,
    GOOD: "#58A1FF",
    BAD: "#FF7A50",
    UNSURE: "#FFB12F",
}
"""The twin of each colour on a dark page."""

DASHES: tuple[str, ...] = ("solid", "dash", "dot")


def group_lines() -> Iterator[dict[str, object]]:
    """Line styles of successive groups; after the last colour the dash changes."""
    for dash in DASHES:
        for colour in GROUP_COLOURS:
            yield {"color": colour, "dash": dash, "width": 2}


def implementation_colour(name: str) -> str:
    """The colour of an implementation; grey for a name this version does not know."""
    return IMPLEMENTATION_COLOURS.get(name, QUIET)


def styles_of(names: Iterable[str]) -> list[tuple[str, str, str]]:
    """Name, colour and symbol of each implementation, and of further names, as those of other projects."""
    others = sorted(set(names) - set(IMPLEMENTATION_MARKS))
    return [*IMPLEMENTATION_STYLES, *((name, NO_MARK.light, NO_MARK.symbol) for name in others)]


def translucent(colour: str, alpha: float) -> str:
    """The colour as `rgba(...)` with `alpha` from 0 to 1."""
    return f"rgba({channels(colour)},{alpha})"


def channels(colour: str) -> str:
    """Red, green and blue of `#RRGGBB`, from 0 to 255, separated by commas."""
    return ",".join(str(int(colour[index : index + 2], 16)) for index in (1, 3, 5))

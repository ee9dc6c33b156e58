"""The colours: an implementation looks the same on every chart, in a light and in a dark shade.

Charts are drawn in the light shades; `components.dark_figure.in_dark` exchanges each for its twin. Chosen
by search so that any two implementations can be distinguished in normal vision and under simulated
protanopia, deuteranopia and tritanopia, and every mark contrasts with its page by 3:1 (text by 4.5:1).
Symbols repeat the colours.
"""

from __future__ import annotations

from collections.abc import Iterator

_SHADES: tuple[tuple[str, str, str, str], ...] = (
    ("fused", "#BE3606", "#FF7247", "circle"),
    ("bmm", "#2A58B1", "#8591E1", "square"),
    ("bmm_strided", "#3891FB", "#118FFF", "diamond"),
    ("bmm_blockdense", "#14A56E", "#6AF9BA", "triangle-up"),
    ("einsum", "#6A3ACC", "#FFAAFF", "x"),
    ("bsr", "#BF8200", "#FFAE1A", "triangle-down"),
    ("csr", "#829A4A", "#DEF19D", "cross"),
    ("dense", "#926073", "#BC9AA5", "star"),
    ("cutensor", "#003F42", "#85BC87", "pentagon"),
    ("compiled", "#09177B", "#6F5FC7", "hexagon"),
    ("lazylinop", "#563400", "#8B6636", "bowtie"),
    ("triton", "#9E1274", "#BC4379", "hourglass"),
)
IMPLEMENTATION_STYLES = tuple((name, light, symbol) for name, light, _, symbol in _SHADES)
IMPLEMENTATION_COLOURS = {name: light for name, light, _, _ in _SHADES}
IMPLEMENTATION_SYMBOLS = {name: symbol for name, _, _, symbol in _SHADES}

ACCENT = IMPLEMENTATION_COLOURS["fused"]
"""The fused kernel: its speedup, its trend."""

TEXT = "#3C4453"
"""Axes, legends and annotations."""

QUIET = "#69727F"
"""Reference lines, counts and secondary text."""

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
    **{light: dark for _, light, dark, _ in _SHADES},
    **dict(
        zip(
            GROUP_COLOURS,
            ("#5AA2FF", "#FFB02E", "#4AD39A", "#E39BF0", "#93A9F0", "#BD9BA6"),
            strict=True,
        )
    ),
    TEXT: "#CDD3DC",
    QUIET: "#9AA3AF",
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


def translucent(colour: str, alpha: float) -> str:
    """The colour as `rgba(...)` with `alpha` from 0 to 1."""
    return f"rgba({channels(colour)},{alpha})"


def channels(colour: str) -> str:
    """Red, green and blue of `#RRGGBB`, from 0 to 255, separated by commas."""
    return ",".join(str(int(colour[index : index + 2], 16)) for index in (1, 3, 5))

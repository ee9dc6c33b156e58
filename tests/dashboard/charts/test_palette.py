from itertools import combinations

import numpy as np
import pytest

from kswatch.dashboard.charts.palette import (
    BAD,
    DARK,
    GOOD,
    IMPLEMENTATION_COLOURS,
    IMPLEMENTATION_MARKS,
    IMPLEMENTATION_SYMBOLS,
    QUIET,
    SPARE_MARKS,
    TEXT,
    implementation_colour,
    translucent,
)
from kswatch.dashboard.charts.style import blank
from kswatch.dashboard.components.dark_figure import in_dark
from kswatch.db.records import IMPLEMENTATIONS

# Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision Deficiency (2009)
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
PAGES = {"light": "#FFFFFF", "dark": "#171614"}


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[index : index + 2], 16) for index in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(colour: str, page: str) -> float:
    light, dark = sorted((float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (colour, page)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def on(page: str, colour: str) -> str:
    return DARK[colour] if page == "dark" else colour


def test_every_implementation_has_a_colour_and_a_symbol_of_its_own() -> None:
    assert set(IMPLEMENTATION_COLOURS) == set(IMPLEMENTATION_SYMBOLS) >= set(IMPLEMENTATIONS)
    for shades in (IMPLEMENTATION_COLOURS, IMPLEMENTATION_SYMBOLS):
        assert len(set(shades.values())) == len(IMPLEMENTATION_COLOURS)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("vision", VISION)
def test_any_two_implementations_differ_for_every_colour_vision(vision: str, page: str) -> None:
    marks = IMPLEMENTATION_MARKS | {one.symbol: one for one in SPARE_MARKS}
    colours = {name: on(page, one.light) for name, one in marks.items()}
    seen = {name: lab(VISION[vision] @ linear(colour)) for name, colour in colours.items()}
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 14, (one, other)


@pytest.mark.parametrize("page", PAGES)
def test_marks_contrast_with_the_page_by_3_to_1_and_text_by_4_5(page: str) -> None:
    for colour in DARK:
        least = 4.5 if colour in (TEXT, QUIET) else 3
        assert contrast(on(page, colour), PAGES[page]) >= least, colour


def test_a_figure_on_a_dark_page_has_the_dark_twin_of_every_colour() -> None:
    figure = blank("x", "y")
    figure.add_scatter(
        x=[1], y=[1], line={"color": GOOD}, marker={"color": [BAD]}, fillcolor=translucent(QUIET, 0.25)
    )
    dark = in_dark(figure)
    assert dark.data[0].marker.color == (DARK[BAD],)
    assert dark.data[0].fillcolor == translucent(DARK[QUIET], 0.25)
    assert dark.layout.xaxis.tickfont.color == dark.layout.font.color == DARK[TEXT]
    assert list(dark.data[0].x) == [1.0]
    assert figure.data[0].marker.color == (BAD,)
    assert not [light for light in DARK if light in dark.to_json()]


def test_an_implementation_of_a_later_version_is_drawn_in_grey() -> None:
    assert implementation_colour("not_yet_written") not in IMPLEMENTATION_COLOURS.values()

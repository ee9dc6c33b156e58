import re
from base64 import b64decode

from kswatch.dashboard.night.sparkline import sparkline


def drawing(image: str) -> str:
    return b64decode(image.partition("base64,")[2].partition('"')[0]).decode()


def test_a_line_fills_its_box_and_few_values_have_none() -> None:
    assert sparkline([1.0, 2.0]) == ""
    image = sparkline([1.0, 2.0, 1.0])
    assert 'points="3.0,33.0 90.0,3.0 177.0,33.0"' in drawing(image)
    assert 'alt="3 nights, first 1.00×, last 1.00×, range 1.00× to 2.00×"' in image
    assert "NaN" not in drawing(sparkline([1.5, 1.5, 1.5]))


def test_a_step_has_both_levels_and_its_night() -> None:
    lines = re.findall(
        r'<line class="(\w+)" x1="([\d.]+)" x2="([\d.]+)" y1="([\d.]+)"',
        drawing(sparkline([1.0, 1.0, 2.0, 2.0], step=2)),
    )
    assert lines == [
        ("level", "0.0", "90.0", "33.0"),
        ("after", "90.0", "180.0", "3.0"),
        ("quiet", "90.0", "90.0", "0.0"),
    ]


def test_a_step_outside_of_the_nights_is_not_drawn() -> None:
    assert 'class="after"' not in drawing(sparkline([1.0, 1.0, 2.0], step=0))
    assert 'class="after"' not in drawing(sparkline([1.0, 1.0, 2.0], step=3))

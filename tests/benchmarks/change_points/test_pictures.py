"""The pictures in docs/change_points.md show what the detector finds today."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.benchmarks.change_points.pictures import FOLDER, SERIES, picture, pictures

REFERENCE = os.environ.get("KSWATCH_REFERENCE")
PAGE = FOLDER.with_suffix(".md")


def lines(text: str) -> list[str]:
    return re.findall(r"<line .*/>", text)


def test_every_picture_is_on_the_page_and_their_total_is_small():
    shown = re.findall(r"!\[\]\(change_points/(\w+)\.svg\)", PAGE.read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(SERIES)
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(SERIES)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 400_000


def test_a_picture_has_a_line_for_each_mark_and_each_change():
    text = picture([1.0, 1.0, 5.0, 5.0], marked=[2], found=[1, 2])
    assert len(lines(text)) == 3
    assert text.count("#2ca02c") == 1
    assert 'x1="450.0"' in lines(text)[0]  # before the third of four points: in the middle


@pytest.mark.skipif(not REFERENCE, reason="KSWATCH_REFERENCE is unset: it names the folder of published data")
def test_the_stored_pictures_show_what_the_detector_finds():
    for name, text in pictures(Path(REFERENCE)).items():
        assert lines((FOLDER / name).read_text(encoding="utf-8")) == lines(text), (
            f"{name}: draw it again by `python -m tests.benchmarks.change_points.pictures`"
        )

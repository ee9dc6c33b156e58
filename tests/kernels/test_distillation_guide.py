"""The guide on distillation: its code runs, and prints what the guide shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "distil_a_dense_layer.md"
FIGURE = re.compile(r"\d+\.\d+")


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def figures(text: str) -> list[float]:
    return [float(figure) for figure in FIGURE.findall(text)]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_guides_code_prints_what_the_guide_shows() -> None:
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in blocks("python"):
            exec(compile(block, GUIDE.name, "exec"), names)
    shown = "".join(blocks("text"))
    assert FIGURE.sub("#", printed.getvalue()) == FIGURE.sub("#", shown)
    # roundings of another processor take training along another path
    assert figures(printed.getvalue()) == pytest.approx(figures(shown), rel=0.2, abs=0.04)


def test_the_shown_figures_are_those_of_a_successful_distillation() -> None:
    _, first, second, block, without = blocks("text")
    _, projected_error, projected_accuracy = figures(first)
    distilled_error, distilled_accuracy = figures(second)
    assert distilled_error < projected_error / 4 and distilled_accuracy > projected_accuracy + 0.1
    assert figures(block)[2] < figures(block)[0] / 3 and figures(block)[3] > figures(block)[1] + 0.3
    assert figures(without)[1] < figures(without)[0] / 3

"""The guides on extending kswatch: each is executed in a scratch copy of the repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.extension.guide_steps import GUIDES, ROOT, edit, execute, scratch_copy, steps

EXTENDING = sorted(path.name for path in GUIDES.glob("add_*.md"))
ALL = [*EXTENDING, "measure_your_own_kernel.md"]
MOST_LINES = 2
"""Of an existing file: the line of a list, and its import."""


def test_each_kind_of_extension_has_a_guide() -> None:
    kinds = ("a_family", "a_notification_channel", "a_page", "a_probe", "a_suite", "an_implementation")
    assert [f"add_{kind}.md" for kind in kinds] == EXTENDING


@pytest.mark.parametrize("guide", EXTENDING)
def test_an_extension_is_one_file_and_one_line(guide: str, tmp_path: Path) -> None:
    titled = [step for step in steps(guide) if step.title]
    new = [step for step in titled if ", " not in step.title]
    assert len(new) == 1 and not (ROOT / new[0].title).exists()
    lines = [step for step in titled if step not in new]
    assert sum(step.text.count("\n") for step in lines) <= MOST_LINES
    assert len({step.title.partition(", ")[0] for step in lines}) <= 1
    for step in titled:  # what it writes is as the project's style wants it
        name = step.title.partition(", ")[0]
        if step in lines and not (tmp_path / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
        compile(edit(tmp_path, step).read_text(encoding="utf-8"), step.title, "exec")
    checked = [sys.executable, "-m", "ruff", "check", "--quiet", "--config", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*checked, "--ignore", "I001", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("guide", ALL)
def test_the_steps_of_a_guide_work_in_a_scratch_copy(guide: str, tmp_path: Path) -> None:
    assert execute(scratch_copy(tmp_path), guide) == []

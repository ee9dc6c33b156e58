"""Code blocks of the documents are executed: a page's shell blocks as one session, its Python blocks as one.

A session has a folder and a store of its own. Blocks that cannot be executed here have a comment before them
with the reason; the list below is that of all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from kswatch.configuration import read_config
from tests.docs.documents import DOCUMENTS, blocks, executed, has_own_test, name, not_executed

LANGUAGES = {"bash", "python", "text", "toml", "yaml"}
SESSION_LIMIT_S = 1500

GPU, HOSTS, STORE = "needs a GPU", "needs several hosts", "needs a run of this store"
CHECKOUT, CONTAINER = "needs the history of a checkout", "needs a container engine"
SERVES, MINUTES = "serves until it is stopped", "takes minutes"
NOT_EXECUTED = {
    "docs/concepts/layers_and_models.md": [MINUTES],
    "docs/concepts/measurement.md": [MINUTES],
    "docs/first_night.md": ["sets up the checkout", SERVES],
    "docs/guides/ad_hoc_runs.md": [STORE],
    "docs/guides/alerts.md": ["needs a channel", CHECKOUT],
    "docs/guides/containers.md": [CONTAINER] * 3,
    "docs/guides/in_ci.md": [CHECKOUT],
    "docs/guides/on_a_gpu.md": [GPU] * 5,
    "docs/guides/on_many_hosts.md": [HOSTS] * 2,
    "docs/guides/operations.md": ["needs systemd"],
    "docs/guides/programs.md": ["needs a running dashboard"],
    "docs/guides/the_dashboard.md": [SERVES, HOSTS],
}
PAGES = [path for path in DOCUMENTS if not has_own_test(path)]


def pages_with(language: str) -> list[Path]:
    return [path for path in PAGES if executed(path, language)]


def failure_of(command: list[str], text: str, folder: Path) -> str:
    """The end of the output of a page's blocks, in a folder of their own, where they failed; else empty."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KSWATCH_", "GIT_"))}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept["KSWATCH_NATIVE"] = "0"  # else the first layer of a machine builds C++ for a minute
    done = subprocess.run(
        command, input=text, cwd=folder, env=kept, capture_output=True, text=True, timeout=SESSION_LIMIT_S
    )
    failed = f"exit {done.returncode}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return failed if done.returncode else ""


@pytest.mark.slow
@pytest.mark.parametrize("path", pages_with("bash"), ids=name)
def test_the_shell_blocks_of_a_page_run_one_after_another(path: Path, tmp_path: Path) -> None:
    text = "set -euo pipefail\n" + "\n".join(executed(path, "bash"))
    assert failure_of(["bash"], text, tmp_path) == ""


@pytest.mark.slow
@pytest.mark.parametrize("path", pages_with("python"), ids=name)
def test_the_python_blocks_of_a_page_run_one_after_another(path: Path, tmp_path: Path) -> None:
    text = "\n".join(executed(path, "python"))
    assert failure_of([sys.executable, "-P", "-"], text, tmp_path) == ""


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_block_is_of_a_language_that_is_executed_or_read(path: Path, tmp_path: Path) -> None:
    assert {block.language for block in blocks(path)} <= LANGUAGES
    for text in executed(path, "toml"):
        (tmp_path / "kswatch.toml").write_text(text)
        assert tomllib.loads(text) and read_config(tmp_path / "kswatch.toml")
    assert all(yaml.safe_load(text) for text in executed(path, "yaml"))


def test_the_blocks_that_are_not_executed_are_known_each_with_its_reason() -> None:
    assert {name(path): not_executed(path) for path in PAGES if not_executed(path)} == NOT_EXECUTED


def test_most_shell_blocks_are_executed() -> None:
    run = sum(len(executed(path, "bash")) for path in PAGES)
    assert run >= 20 and len(pages_with("bash")) >= 10

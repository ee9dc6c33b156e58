"""Machines that lack what most have: a user's name, a home folder, a terminal of UTF-8, a patient reader."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A command with an empty environment but for the store, on a terminal of ASCII."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
    }
    environment["KSWATCH_DATABASE_URL"] = f"sqlite:///{folder / 'kswatch.db'}"
    line = [*before, sys.executable, "-m", "kswatch", *arguments]
    return subprocess.run(line, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare")
def test_a_user_without_a_name_and_a_home_requests_a_run(tmp_path: Path) -> None:
    before = ("unshare", "--user", "--map-user=54321")
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    done = run(tmp_path, "request", "smoke", "--why", "größer ± ☃", before=before)
    assert (done.returncode, done.stderr) == (0, "")
    assert "requested by unknown user" in done.stdout and done.stdout.isascii()


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m kswatch runs --help | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "0" and done.stderr == ""

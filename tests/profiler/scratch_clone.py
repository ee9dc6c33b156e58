"""A repository of its own that holds this work tree's kernels, and what tests do to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRA_PASS = "  static_cast<const Plan*>(plan)->multiply(packed, x, y, Batch::whole(batch), threads);\n"


def make(folder: Path) -> Path:
    """A repository with the kernels as its one commit."""
    folder.mkdir()
    shutil.copytree(ROOT / "kernels", folder / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    commit(folder, "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a"}
    variables = {**os.environ, **names, "GIT_COMMITTER_EMAIL": "a@b"}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=variables, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(folder: Path, subject: str) -> str:
    git(folder, "commit", "--quiet", "--all", "--allow-empty", "-m", subject)
    return git(folder, "rev-parse", "HEAD")


def change(folder: Path, path: str, before: str, after: str, subject: str = "change") -> str:
    file = folder / path
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    return commit(folder, subject)


def kswatch(folder: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kswatch", *arguments]
    variables = {**os.environ, "KSWATCH_DATABASE_URL": f"sqlite:///{folder.parent}/none.db"}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, **options)


def plant_extra_pass(folder: Path, subject: str = "an extra pass") -> str:
    line = "  return static_cast<const Plan*>(plan)->multiply(packed, x, y, Batch::whole(batch), threads);\n"
    return change(folder, "kernels/fused/cpu_twin/source/twin.cpp", line, EXTRA_PASS + line, subject)

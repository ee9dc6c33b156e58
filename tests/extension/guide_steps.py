"""The steps of a guide: files that it adds, lines that it inserts, its commands and what those print."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
COPIED = ("kswatch", "kernels", "profiler", "db", "ci", "dashboard", "tests/extension", "pyproject.toml")
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One block: a file or lines for one where it has a title, a session of the shell, or what one prints."""

    language: str
    title: str
    text: str


def steps(guide: str) -> list[Step]:
    """The blocks of a guide, in their order."""
    text = (GUIDES / guide).read_text(encoding="utf-8")
    return [Step(*found) for found in _BLOCK.findall(text)]


def scratch_copy(folder: Path) -> Path:
    """The product code in a folder of its own, which no step can leave."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copy(source, target)
        else:
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
            shutil.copytree(source, target, symlinks=True, ignore=ignored)
    return folder


def edit(folder: Path, step: Step) -> Path:
    """Write the step's file, or insert its lines; the changed file."""
    name, _, place = step.title.partition(", ")
    file = folder / name
    if not place:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(step.text, encoding="utf-8")
        return file
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    if place == "among the imports":
        imports = [
            one for one in ast.parse("".join(lines)).body if isinstance(one, ast.Import | ast.ImportFrom)
        ]
        at = imports[-1].end_lineno or 0
    else:
        begin = next(n for n, line in enumerate(lines) if line.startswith(place.removeprefix("in ")))
        at = next(n for n, line in enumerate(lines) if n > begin and line == ")\n")
    file.write_text("".join([*lines[:at], step.text, *lines[at:]]), encoding="utf-8")
    return file


def session(folder: Path, script: str) -> str:
    """What the commands print, on both streams, with the scratch copy as the only kswatch."""
    commands = folder / "commands"
    commands.mkdir(exist_ok=True)
    command = commands / "kswatch"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kswatch "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KSWATCH_", "GIT_"))}
    path = [str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]
    variables = {"PATH": os.pathsep.join(path), "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=folder,
        env={**kept, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def execute(folder: Path, guide: str) -> list[str]:
    """Do all that a guide does; the lines of its blocks of text that the session before did not print."""
    printed, shell, missing = "", "", []
    for step in steps(guide):
        if step.title and step.language != "text":
            edit(folder, step)
        elif step.language == "bash":
            exports = "\n".join(line for line in shell.splitlines() if line.startswith("export PYTHONPATH"))
            printed, shell = session(folder, f"{exports}\n{step.text}"), f"{shell}\n{step.text}"
        elif step.language == "text" and not step.title:
            missing += [line for line in step.text.splitlines() if line not in printed]
    return missing

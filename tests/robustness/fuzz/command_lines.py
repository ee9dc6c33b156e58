"""Command lines with one hostile value each, and a process that runs hundreds of them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer.main

from kswatch.cli import app
from kswatch.kernels.fused.artifacts.cache import cache_folder
from tests.robustness.fuzz import hostile_values as hostile

ROOT = Path(__file__).parents[3]
CODES = (0, 1, 2, 3)
LONGEST_OUTPUT = 200_000
"""Characters."""

GUARDS: dict[str, list[str]] = {
    "profile": ["--dry-run"],
    "nightly": ["--device", "nowhere"],
    "tune": ["--device", "nowhere"],
    "serve": ["--print-unit"],
    "gate": ["--repository", "empty", "--base", "HEAD"],
    "bisect": ["--repository", "empty", "--good", "a", "--bad", "b"],
    "worker": ["--device", "nowhere", "--scheduler", "tcp://127.0.0.1:1"],
    "simulate": ["--nights", "1", "--store", "simulated.db"],
}
"""Options that keep a command from measuring, or from waiting for work."""
MEASURING = ("nightly", "tune", "worker")
"""Commands that a real device would keep at work."""
NEEDED = {
    "before": "1",
    "after": "2",
    "run": "1",
    "alert": "1",
    "number": "1",
    "device": "cpu",
    "reason": "why",
    "text": "text",
}
NEEDED |= {
    "file": "none.jsonl",
    "files": "none.jsonl",
    "to": "me",
    "until": "2030-01-01",
    "patterns": "6,64,64,1",
}
NEEDED |= {"older_than_days": "3000"}
"""Values of what a command needs besides."""

_DAYS = ("days", "older_than_days")
_NUMBERS = (
    "run",
    "before",
    "after",
    "alert",
    "number",
    "cancel",
    "like",
    "seen_version",
    "limit",
    "most",
    "batch",
)
_NUMBERS += ("priority", "port", "nights", "accepted_after", "jobs", "seed")
_PATHS = ("file", "files", "output", "export", "write", "html", "store", "repository", "config")
_VALUES: dict[tuple[str, ...], tuple[str, ...]] = {
    _DAYS: hostile.DAYS + hostile.INTEGERS,
    _NUMBERS: hostile.INTEGERS,
    _PATHS: hostile.PATHS,
    ("pattern", "patterns", "problem"): hostile.PATTERNS + hostile.TEXTS,
    ("budget",): hostile.DURATIONS + hostile.TEXTS,
    ("until",): hostile.DATES + hostile.TEXTS,
    ("plant",): hostile.PLANTS + hostile.TEXTS,
    ("scheduler", "address"): hostile.ADDRESSES + hostile.TEXTS,
}


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the program that does something, with its name."""
    command = command or typer.main.get_command(app)
    below = getattr(command, "commands", {})
    if path and (not below or command.invoke_without_command):
        yield path, command
    for name, child in below.items():
        yield from commands(child, (*path, name))


def hostile_lines() -> list[list[str]]:
    """One command line for each parameter of each command and each hostile value."""
    return [
        _line(path, command, {parameter: value})
        for path, command in commands()
        for parameter in command.params
        if not getattr(parameter, "is_flag", False)
        for value in _safe_values(path, parameter.name)
    ]


SLOW = ("nightly", "replay", "tune")
"""Commands that take a second to begin."""


def some_hostile_lines(seed: int, number: int) -> list[list[str]]:
    """So many of the commands that begin at once, in a random order."""
    quick = [line for line in hostile_lines() if line[0] not in SLOW]
    return random.Random(seed).sample(quick, number)


VARIABLES = ("KSWATCH_CONFIG", "KSWATCH_CACHE", "KSWATCH_HEURISTICS", "KSWATCH_NOTIFY", "KSWATCH_TILES")
VARIABLES += ("KSWATCH_TOKEN_READ", "KSWATCH_TOKEN_ACT", "KSWATCH_CUBINS", "KSWATCH_NATIVE", "HOME", "TZ")
VARIABLES += ("XDG_CACHE_HOME", "LANG", "COLUMNS", "TERM", "CXX", "CUDA_HOME", "USER", "LOGNAME", "TMPDIR")
"""Of the environment, which a shell, a service or a container sets to anything."""


def random_line(randomness: random.Random) -> list[str]:
    """A command line with one to three hostile values."""
    path, command = randomness.choice(list(commands()))
    parameters = [one for one in command.params if not getattr(one, "is_flag", False)]
    chosen = randomness.sample(parameters, min(len(parameters), randomness.choice((1, 1, 2, 3))))
    return _line(path, command, {one: randomness.choice(_safe_values(path, one.name)) for one in chosen})


def random_environment(randomness: random.Random) -> dict[str, str]:
    """Hostile values of one to three variables."""
    names = randomness.sample(VARIABLES, randomness.choice((1, 1, 2, 3)))
    return {name: randomness.choice((*hostile.TEXTS, *hostile.PATHS, *hostile.INTEGERS)) for name in names}


def _safe_values(path: tuple[str, ...], name: str) -> list[str]:
    """The values of a parameter, without those that would keep the command at work."""
    values = next((values for names, values in _VALUES.items() if name in names), hostile.TEXTS)
    return [value for value in values if path[0] not in MEASURING or value != "cpu"]


def _line(path: tuple[str, ...], command: Any, values: Mapping[Any, str]) -> list[str]:
    """A command with these values of its parameters, and what it needs besides."""
    guard = list(GUARDS.get(path[0], ()))
    for given in (one for one in values if one.opts[0] in guard):
        at = guard.index(given.opts[0])
        del guard[at : at + 2]
    line = [*path, *guard]
    for parameter in command.params:
        is_option = parameter.param_type_name == "option"
        if parameter in values:
            line += [f"{parameter.opts[0]}={values[parameter]}"] if is_option else [values[parameter]]
        elif parameter.required:
            line += [parameter.opts[0]] if is_option else []
            line.append(NEEDED[parameter.name])
    return line


class Runner:
    """Runs command lines in one process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def run(self, arguments: Sequence[str], **environment: str) -> dict[str, Any]:
        """What the command returned and wrote; `code` is `hang` where it took longer than it may."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"arguments": arguments, "environment": environment}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the process died of {arguments!r:.300}"
        return json.loads(answer)

    def faults(self, lines: Sequence[Sequence[str]], **environment: str) -> list[str]:
        """Those of the command lines that did not end as they must, with what they wrote last."""
        answers = ((line, self.run(line, **environment)) for line in lines)
        return [
            f"{line!r:.300}: {answer['code']}, {answer['stderr'][-600:]}"
            for line, answer in answers
            if wrong(answer)
        ]


def wrong(answer: Mapping[str, Any]) -> bool:
    """Whether a command ended with a traceback, too late, without a sentence, or with endless output."""
    is_silent = answer["code"] in (2, 3) and not (answer["stderr"] + answer["stdout"]).strip()
    is_long = len(answer["stdout"]) + len(answer["stderr"]) > LONGEST_OUTPUT
    return answer["code"] not in CODES or "Traceback" in answer["stderr"] or is_silent or is_long


@contextmanager
def running(folder: Path, url: str, **settings: str) -> Iterator[Runner]:
    """A process that runs command lines in this folder, on this store."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KSWATCH_")}
    own = {"KSWATCH_DATABASE_URL": url, "PYTHONPATH": str(ROOT), "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    own["KSWATCH_CACHE"] = str(cache_folder())  # where the CPU twin is built already
    with (folder / "child.err").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("child.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=kept | own | settings,
            cwd=folder,
        )
        try:
            yield Runner(process)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(60)

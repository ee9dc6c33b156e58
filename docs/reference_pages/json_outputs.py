"""The page of JSON: the keys of `--json` outputs, found by executing the commands on a simulated store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from reference_pages.commands import commands
from reference_pages.tables import code, markdown_table

NIGHTS = 12
EXAMPLES = {
    "kswatch simulate": f"--nights {NIGHTS} --plant fused:+10%@8 --store nights.db",
    "kswatch profile": "--pattern 4,16,16,1 --batch 64 --implementation fused --implementation bmm "
    "--device sim:h200 --dry-run",
    "kswatch runs": "--limit 1",
    "kswatch compare": "11 12",
    "kswatch summary": "--device sim",
    "kswatch check": "--device sim",
    "kswatch alerts": "",
    "kswatch history": "",
    "kswatch request": 'smoke --device cpu --why "new compiler"',
    "kswatch cancel": '1 --why "wrong device"',
    "kswatch advise": "1,768,192,2 --batch 1024 --device cpu",
    "kswatch heuristics list": "",
    "kswatch heuristics score": "--device sim",
    "kswatch export": "--run 12 run12.jsonl",
    "kswatch import": "run12.jsonl",
    "kswatch doctor": "",
    "kswatch db stats": "",
}
"""Arguments of each command whose output is shown, in the order in which they are executed."""

NULL = "null here"
MOST_KEYS = 60
"""Keys of one output; the rest of a deep one is counted."""


def with_json() -> list[str]:
    """Every command that has the option `--json`."""
    return [name for name, command in commands() if any("--json" in one.opts for one in command.params)]


def page() -> str:
    """The page as Markdown; takes some half a minute of one core."""
    head = f"""# JSON

The keys of `--json`, found when this site was built, by executing each command as shown on a store of
{NIGHTS} simulated nights; the elements of a list are written `[]`. Keys are added within a version, never
renamed. Null means unknown, never 0; there is no NaN; times are in UTC.

"""
    documents = execute(EXAMPLES)
    shown = [_section(name, documents[name]) for name in EXAMPLES]
    others = [name for name in with_json() if name not in EXAMPLES]
    rest = "## Others\n\nAlso with `--json`: " + ", ".join(map(code, others)) + ".\n\n"
    return head + "\n".join(shown) + rest + _api()


def _section(name: str, document: object) -> str:
    rows = [(code(path), *found) for path, found in keys(document).items()]
    cut = [("...", "", f"{len(rows) - MOST_KEYS} more")] if len(rows) > MOST_KEYS else []
    table = markdown_table(("key", "type", "example"), rows[:MOST_KEYS] + cut)
    arguments = f"{EXAMPLES[name]} --json".strip()
    return f"## {name}\n\n```text\n{name} {arguments}\n```\n\n{table}\n"


def execute(examples: Mapping[str, str]) -> dict[str, object]:
    """The document of each command, all of them on one store, in one process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"KSWATCH_DATABASE_URL": f"sqlite:///{Path(folder) / 'nights.db'}"}
        environment.pop("KSWATCH_CONFIG", None)
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            input=json.dumps(examples),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
        )
        if done.returncode:
            raise RuntimeError(f"the examples of --json failed: {done.stderr[-2000:]}")
        return json.loads(done.stdout)


CHILD = """
import contextlib, io, json, shlex, sys
from kswatch.cli import app

written = {}
for name, arguments in json.load(sys.stdin).items():
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        app([*name.split()[1:], *shlex.split(arguments), "--json"], standalone_mode=False)
    try:
        written[name] = json.loads(out.getvalue())
    except ValueError:
        raise RuntimeError(f"{name} {arguments}: no document: {out.getvalue()[:500]!r}") from None
print(json.dumps(written))
"""
"""One process for all commands: each of its own would import torch and SQLAlchemy again."""


def keys(document: object) -> dict[str, tuple[str, str]]:
    """The type and an example by the path of each leaf; known values of a path go before null."""
    found: dict[str, tuple[str, str]] = {}
    for path, value in _leaves(document, ""):
        if path not in found or found[path][0] == NULL:
            found[path] = (_kind(value), _example(value))
    return found


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, list) and value:
        for element in value:
            yield from _leaves(element, f"{path}[]")
    elif isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}" if path else key)
    else:
        yield path, value


def _kind(value: object) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "text", dict: "object", list: "list"}
    return names.get(type(value), NULL)


def _example(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return code(text if len(text) <= 48 else f"{text[:45]}...") if value is not None else ""


def _api() -> str:
    """The resources of the HTTP interface with their parameters, from its routes."""
    from kswatch.dashboard.api.routes import RESOURCES

    rows = [(code(f"/api/v1/{name}"), ", ".join(map(code, known))) for name, (_, known) in RESOURCES.items()]
    about = "Resources of the dashboard's interface for programs; [its rules](../guides/programs.md)."
    return f"## HTTP\n\n{about}\n\n" + markdown_table(("resource", "parameters"), rows)

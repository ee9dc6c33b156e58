"""The page of the command line: every command with its help, arguments and options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer.main

from kswatch.cli import app
from reference_pages.tables import code, markdown_table, plain

SHELL_OPTIONS = {"install_completion", "show_completion"}
"""Options that typer adds, which the help of each shell describes."""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that can be executed, by its full name, in the order of `kswatch --help`."""
    yield from _below("kswatch", typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  (a class of click)
    yield name, command
    for below, inner in getattr(command, "commands", {}).items():
        yield from _below(f"{name} {below}", inner)


def page() -> str:
    """The page as Markdown."""
    head = """# Command line

Written from the commands themselves when this site is built; `kswatch COMMAND --help` prints the same.

Exit codes: 0 fine, 1 confirmed regression or incorrect result, 2 usage or configuration, 3 could not measure,
4 an internal error of kswatch. With `--json`, stdout is one JSON document ([its keys](json.md)); progress and
log lines go to stderr.
"""
    return "\n".join([head, *(_section(name, command) for name, command in commands())])


def _section(name: str, command: Any) -> str:  # noqa: ANN401
    shown = [one for one in command.params if one.name not in SHELL_OPTIONS | {"help"}]
    records = [(one.param_type_name, *_record(command, one)) for one in shown]
    parts = [f"{'#' * min(name.count(' ') + 2, 4)} {name}\n", _help(command.help or "")]
    for kind in ("argument", "option"):
        rows = [row for found, *row in records if found == kind]
        parts += [markdown_table((kind, "meaning"), rows)] if rows else []
    return "\n".join(parts)


def _record(command: Any, parameter: Any) -> tuple[str, str]:  # noqa: ANN401
    """The parameter with the type of its value, and its meaning with range, default and variable."""
    name, text = parameter.get_help_record(command.context_class(command))
    return code(name), plain(text)


def _help(text: str) -> str:
    """The help text, its indented paragraphs (examples, suites) as code blocks."""
    paragraphs = inspect.cleandoc(text.replace("\b", "")).split("\n\n")
    return "\n\n".join(map(_paragraph, paragraphs)) + "\n"


def _paragraph(text: str) -> str:
    title, _, rest = text.strip("\n").partition("\n")
    if title.endswith(":") and rest.startswith("  "):
        return f"{title}\n\n```text\n{inspect.cleandoc(rest)}\n```"
    return plain(text)

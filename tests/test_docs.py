"""The documents are complete: every command at a glance and in its help, every key in kswatch.toml."""

import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main

from kswatch.cli import app
from kswatch.configuration import TABLES, read_config

ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    return sorted(typer.main.get_command(app).commands)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_listed_at_a_glance(command: str) -> None:
    assert f"`kswatch {command}" in (ROOT / "docs/reference/index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", TABLES)
def test_the_example_configuration_holds_every_key_at_its_default(table: str) -> None:
    document = tomllib.loads((ROOT / "kswatch.toml").read_text(encoding="utf-8"))
    default = TABLES[table]()
    assert sorted(document[table]) == sorted(field.name for field in fields(default))
    assert read_config(ROOT / "kswatch.toml")[table] == default


def test_every_folder_of_code_has_a_docstring() -> None:
    for folder in ("kernels", "profiler", "db", "ci", "dashboard"):
        assert (ROOT / folder / "__init__.py").read_text(encoding="utf-8").startswith('"""')


def described(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """Every command, option and argument below a command, with its help text."""
    yield " ".join(path), command.help
    for parameter in command.params:
        yield " ".join((*path, parameter.name)), parameter.help
    for name, below in getattr(command, "commands", {}).items():
        yield from described(below, (*path, name))


def test_every_command_option_and_argument_has_a_help_text() -> None:
    texts = dict(described(typer.main.get_command(app), ("kswatch",)))
    shell = {"kswatch install_completion", "kswatch show_completion"}  # typer's own
    assert len(texts) > 150
    assert [name for name, text in texts.items() if not text and name not in shell] == []

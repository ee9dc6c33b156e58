"""Documents tell all there is: every command in the README, every key in kswatch.toml."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main

from kswatch import cli as kswatch

ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    return sorted(typer.main.get_command(kswatch.app).commands)


@pytest.mark.parametrize("command", commands())
def test_the_readme_tells_of_every_command(command: str) -> None:
    assert f"`kswatch {command}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", kswatch.TABLES)
def test_the_example_configuration_holds_every_key_at_its_default(table: str) -> None:
    document = tomllib.loads((ROOT / "kswatch.toml").read_text(encoding="utf-8"))
    default = kswatch.TABLES[table]()
    assert sorted(document[table]) == sorted(field.name for field in fields(default))
    assert kswatch.read_config(ROOT / "kswatch.toml")[table] == default


def test_every_folder_of_code_says_what_it_is() -> None:
    for folder in ("kernels", "profiler", "db", "ci", "dashboard"):
        assert (ROOT / folder / "__init__.py").read_text(encoding="utf-8").startswith('"""')

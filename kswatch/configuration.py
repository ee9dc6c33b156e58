"""The configuration file: one table per folder, and the address of the store."""

from __future__ import annotations

import os
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from kswatch.ci.config import CiConfig
from kswatch.dashboard.config import DashboardConfig
from kswatch.db.config import DbConfig
from kswatch.db.decoding import DecodeError, decode
from kswatch.errors import ConfigurationError
from kswatch.profiler.config import ProfilerConfig

TABLES: dict[str, type] = {
    "profiler": ProfilerConfig,
    "db": DbConfig,
    "ci": CiConfig,
    "dashboard": DashboardConfig,
}


def read_config(path: Path, must_exist: bool = False) -> dict[str, Any]:
    """One frozen dataclass per folder, from the tables of a TOML file; defaults for missing keys.

    Raises:
        ConfigurationError: the file is named but missing, is not TOML, or has an unknown table
            or key or a value of the wrong type.
    """
    if not path.exists():
        if must_exist:
            raise ConfigurationError(
                f"configuration file {path} does not exist; create it or unset KSWATCH_CONFIG"
            )
        return {name: table() for name, table in TABLES.items()}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as TOML: {error}") from error
    for name in document:
        if name not in TABLES:
            raise ConfigurationError(f"{path}: unknown table [{name}]; known: {', '.join(TABLES)}")
    return {name: _read_table(path, name, document.get(name, {})) for name in TABLES}


def _read_table(path: Path, name: str, values: object) -> object:
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: {name} must be a table, as in [{name}]")
    table = TABLES[name]
    known = [field.name for field in fields(table)]
    for key in values:
        if key not in known:
            raise ConfigurationError(f"{path}: unknown key {key!r} in [{name}]; known: {', '.join(known)}")
    try:
        return decode(table, values)
    except DecodeError as error:
        raise ConfigurationError(f"{path}: {name}.{error}; correct it") from None


def database_url(config: DbConfig, config_path: Path) -> str:
    """The store's URL: KSWATCH_DATABASE_URL, else the configuration's, else kswatch.db beside the file."""
    chosen = os.environ.get("KSWATCH_DATABASE_URL") or config.url
    return chosen or f"sqlite:///{config_path.resolve().parent / 'kswatch.db'}"

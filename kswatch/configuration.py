"""The configuration file: one table per folder, and the address of the store."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Set
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kswatch.ci.config import CiConfig
from kswatch.dashboard.config import DashboardConfig
from kswatch.db.config import DbConfig, file_url, range_text
from kswatch.errors import ConfigurationError, UsageError, shorten
from kswatch.profiler.config import ProfilerConfig

TABLES: dict[str, type] = {
    "profiler": ProfilerConfig,
    "db": DbConfig,
    "ci": CiConfig,
    "dashboard": DashboardConfig,
}

LONGEST_MESSAGE = 600
"""Characters."""
_SECRET_KEYS = ("url",)
_KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}


def read_config(path: Path, must_exist: bool = False) -> dict[str, Any]:
    """One frozen dataclass per folder, from the tables of a TOML file; defaults for missing keys.

    Raises:
        ConfigurationError: the file is named but missing, is not TOML, or has an unknown table
            or key or a value of the wrong type.
    """
    if not _exists(path):
        if must_exist:
            raise ConfigurationError(
                f"configuration file {path} does not exist; create it or unset KSWATCH_CONFIG"
            )
        return {name: table() for name, table in TABLES.items()}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8 and not TOML are ValueErrors
        raise ConfigurationError(f"{path} cannot be read as TOML: {error}") from error
    for name in document:
        if name not in TABLES:
            raise ConfigurationError(f"{path}: unknown table [{name}]; known: {', '.join(TABLES)}")
    return {name: _read_table(path, name, document.get(name, {})) for name in TABLES}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:  # a name too long, or with a NUL
        raise ConfigurationError(f"configuration file: {error}") from None


def _read_table(path: Path, name: str, values: object) -> object:
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: {name} must be a table, as in [{name}]")
    table = TABLES[name]
    known = [field.name for field in fields(table)]
    for key in values:
        if key not in known:
            raise ConfigurationError(f"{path}: unknown key {key!r} in [{name}]; known: {', '.join(known)}")
    try:
        read = _convert(table, values) if values else table()
        _check_meaning(name, read, values)
    except (ConfigurationError, UsageError) as error:
        raise ConfigurationError(f"{path}: {shorten(str(error), LONGEST_MESSAGE)}") from None
    except _WrongValueError as error:
        raise ConfigurationError(f"{path}: {name}.{error}; correct it") from None
    return read


class _WrongValueError(ValueError):
    """A value of the wrong type, or out of its range; the message names key and value."""


def _convert(table: type, values: Mapping[str, Any]) -> Any:  # noqa: ANN401  (an instance of `table`)
    """The dataclass of these values, checked by msgspec, which takes longer to load than a file to read."""
    import msgspec

    hints = get_type_hints(table)
    read = {}
    for key, value in values.items():
        try:
            read[key] = msgspec.convert(value, hints[key])
        except msgspec.ValidationError as error:
            shown = "(hidden)" if key in _SECRET_KEYS else _shortened(value)
            wanted = _wanted(hints[key], str(error)) + range_text(table, key)
            raise _WrongValueError(f"{key} = {shown} must be {wanted}") from None
    return table(**read)


def _wanted(kind: Any, message: str) -> str:  # noqa: ANN401  (a type)
    """The type of a key in words."""
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if get_origin(kind) is tuple:
        return 'a list of texts, as in ["a", "b"]'
    return _KINDS.get(kind, message)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _check_meaning(name: str, table: Any, values: Mapping[str, Any]) -> None:  # noqa: ANN401
    """Check texts that have a form of their own, where they are not the defaults: each check loads a module.

    Raises:
        ConfigurationError: a schedule, device list or address that means nothing.
        UsageError: a suite or duration that means nothing.
    """
    default = type(table)()
    changed = {key for key in values if getattr(table, key) != getattr(default, key)}
    if name == "profiler":
        _check_profiler(table, changed)
    if "trusted_proxies" in changed:
        from kswatch.dashboard.auth.attempts import read_networks

        read_networks(table.trusted_proxies)


def _check_profiler(table: ProfilerConfig, changed: Set[str]) -> None:
    if changed & {"nightly_cron", "timezone"}:
        from kswatch.profiler.service.schedule import read_schedule

        read_schedule(table.nightly_cron, table.timezone)
    if "nightly_budget" in changed:
        from kswatch.profiler.planning.budget import parse_seconds

        try:
            parse_seconds(table.nightly_budget)
        except UsageError as error:
            raise UsageError(f"profiler.nightly_budget: {error}") from None
    for key in sorted(changed & {"gpu_suite", "cpu_suite"}):
        from kswatch.profiler.planning.suites import find as find_suite

        try:
            find_suite(getattr(table, key))
        except UsageError as error:
            raise UsageError(f"profiler.{key}: {error}") from None


def database_url(config: DbConfig, config_path: Path) -> str:
    """The store's URL: KSWATCH_DATABASE_URL, else the configuration's, else kswatch.db beside the file.

    Raises:
        ConfigurationError: the folder of the file does not exist any more.
    """
    chosen = os.environ.get("KSWATCH_DATABASE_URL") or config.url
    return chosen or file_url(_real_folder(config_path) / "kswatch.db")


def _real_folder(path: Path) -> Path:
    try:
        return path.resolve().parent
    except (OSError, RuntimeError) as error:  # a folder that was deleted, or links in a circle
        reason = error.strerror if isinstance(error, OSError) else "its links form a circle"
        raise ConfigurationError(
            f"the folder of {path} cannot be found ({reason}); change to another folder"
        ) from None

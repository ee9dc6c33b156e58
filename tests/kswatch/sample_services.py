"""Services for tests of commands: a configuration, a store's URL, and the callables that a test gives."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from kswatch.configuration import TABLES
from kswatch.services import JudgementLimits, Services, TimingLimits


def sample_services(database_url: str, *tables: object, **callables: object) -> Services[Any]:
    """Services on a store, with default tables but for those given; a callable that is not given raises."""
    given = {type(table): table for table in tables}
    values: dict[str, Any] = {field.name: _missing(field.name) for field in fields(Services)}
    values |= {
        "tables": tuple(given.get(kind) or kind() for kind in TABLES.values()),
        "config_path": Path("kswatch.toml"),
        "database_url": database_url,
        "dashboard_url": "",
        "judgement_limits": JudgementLimits(),
        "timing_limits": TimingLimits(),
    }
    return Services(**values | callables)


def _missing(name: str) -> Any:  # noqa: ANN401  (stands for any of the services)
    def service(*arguments: object, **options: object) -> None:
        raise AssertionError(f"the test gave no service {name}")

    return service

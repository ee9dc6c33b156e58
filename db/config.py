"""Where the store is: the `[db]` table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DbConfig:
    """The store that every command opens, unless KSWATCH_DATABASE_URL names another."""

    url: str = ""
    """sqlite:///path or postgresql://user@host/name (passwords belong in the environment); kswatch.db
    beside kswatch.toml where it is empty."""

"""The [dashboard] table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DashboardConfig:
    """Where the dashboard listens; always on 127.0.0.1, since it has no sign-in."""

    port: int = 8501
    """Port on 127.0.0.1; `kswatch dashboard --port` overrides it."""

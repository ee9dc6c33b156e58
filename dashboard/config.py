"""The [dashboard] table of kswatch.toml."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DashboardConfig:
    """Where the dashboard listens. On another address than loopback it demands that visitors sign in."""

    port: int = 8501
    """The port; `kswatch dashboard --port` overrides it."""

    address: str = "127.0.0.1"
    """The address to listen on; `kswatch dashboard --address` overrides it."""

    hosts: tuple[str, ...] = ()
    """Names under which it is reached through a proxy; beside this machine's own, no other is answered."""

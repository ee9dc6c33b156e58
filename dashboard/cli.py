"""`kswatch dashboard`: starts Streamlit on this store, for this machine only unless users sign in."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.dashboard.config import DashboardConfig
from kswatch.db.config import DbConfig
from kswatch.errors import UsageError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.db.store import Store

app = typer.Typer()

HERE = Path(__file__).parent
HOST = "127.0.0.1"
SETTINGS: dict[str, str] = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.enableStaticServing": "false",
    "server.agentMaxSessions": "20",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "type",
}
"""Passed on Streamlit's command line, which overrides any settings file of the user."""


@app.command()
def dashboard(
    ctx: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on; 8501 by default.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address to listen on; 127.0.0.1 by default. Any other requires sign-in."),
    ] = None,
) -> None:
    """Open the dashboard on http://127.0.0.1:8501; Ctrl-C stops it.

    \b
    Examples:
      kswatch dashboard
      kswatch dashboard --port 9000
      KSWATCH_DATABASE_URL=sqlite:///other.db kswatch dashboard
      KSWATCH_TOKEN_READ=... KSWATCH_TOKEN_ACT=... kswatch dashboard --address 0.0.0.0

    From another machine, connect through a tunnel: ssh -L 8501:127.0.0.1:8501 HOST
    """  # noqa: D301  (backslash b keeps the lines apart)
    from kswatch.dashboard.auth.attempts import read_networks
    from kswatch.dashboard.auth.settings import (
        is_loopback,
        read_auth_settings,
        require_sign_in_unless_local,
        require_tokens_for_agents,
    )
    from kswatch.dashboard.data.server_settings import server_environment
    from kswatch.db.store import Store

    config = services(ctx).table(DashboardConfig)
    port, address = port or config.port, address or config.address
    read_networks(config.trusted_proxies)
    settings = read_auth_settings(os.environ)
    require_sign_in_unless_local(settings, address, config.hosts)
    require_tokens_for_agents(settings, config.agent_api)
    refuse_taken_port(port, address)
    if not is_loopback(address):
        typer.echo("kswatch: credentials are sent unencrypted; put a proxy with TLS in front", err=True)
    # opened once here: creates a missing store, upgrades an older schema
    store = Store.open(services(ctx).database_url)
    offer_recorded_runs(ctx, store)
    store.close()
    arguments = streamlit_arguments(port, address, config.agent_api)
    environment = server_environment(
        services(ctx).database_url,
        replace(config, repository_url=services(ctx).repository_url() or ""),
        services(ctx).table(DbConfig),
        services(ctx).judgement_limits,
        services(ctx).timing_limits,
    )
    os.execve(arguments[0], arguments, os.environ | environment)


def offer_recorded_runs(ctx: typer.Context, store: Store) -> None:
    """Offer a store without runs those that kswatch is shipped with; without a terminal by a hint."""
    from kswatch.db.cli.store import import_with_predictions
    from kswatch.db.interchange.recorded_runs import recorded_files
    from kswatch.db.queries.runs import runs

    files = recorded_files()
    if not files or runs(store, limit=1):
        return
    if not sys.stdin.isatty():
        typer.echo(
            "kswatch: this store is empty; `kswatch import --recorded` adds runs on real GPUs", err=True
        )
    elif typer.confirm(
        "This store is empty. Import the runs on real GPUs that kswatch is shipped with?", True
    ):
        for path in files:
            import_with_predictions(ctx, store, path, as_imported=True)


def streamlit_arguments(port: int, address: str = HOST, agent_api: bool = False) -> list[str]:
    """The command line that starts the server; `SETTINGS` override the user's own.

    `-P`: the working directory may be another clone, whose `kswatch` would be imported.
    """
    settings = SETTINGS | {"server.port": str(port), "server.address": address}
    settings["server.enableAgentApi"] = str(agent_api).lower()
    options = [f"--{name}={value}" for name, value in settings.items()]
    return [sys.executable, "-P", "-m", "streamlit", "run", str(HERE / "asgi.py"), *options]


def refuse_taken_port(port: int, address: str = HOST) -> None:
    """Check that the port is free.

    Raises:
        UsageError: the port cannot be bound.
    """
    import socket

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise UsageError(
                f"port {port} on {address} cannot be used ({error.strerror}); "
                f"choose another, as in --port {port + 1}"
            ) from error

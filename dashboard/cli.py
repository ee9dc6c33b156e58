"""`kswatch dashboard`: starts Streamlit on this store, for this machine only unless visitors sign in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kswatch.errors import UsageError

if TYPE_CHECKING:
    from kswatch.db.request_queue.requests import Limits

app = typer.Typer()

HERE = Path(__file__).parent
HOST = "127.0.0.1"
SETTINGS: dict[str, str] = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.enableStaticServing": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "type",
}
"""Given on Streamlit's command line, so that no settings file of the user's can undo them."""


@app.command()
def dashboard(
    ctx: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on; 8501 by default.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address to listen on; 127.0.0.1 by default. Any other demands sign-in."),
    ] = None,
) -> None:
    """Open the dashboard on http://127.0.0.1:8501; Ctrl-C stops it.

    \b
    Examples:
      kswatch dashboard
      kswatch dashboard --port 9000
      KSWATCH_DATABASE_URL=sqlite:///other.db kswatch dashboard
      KSWATCH_TOKEN_READ=... KSWATCH_TOKEN_ACT=... kswatch dashboard --address 0.0.0.0

    From another machine, reach it by a tunnel: ssh -L 8501:127.0.0.1:8501 HOST
    """  # noqa: D301  (backslash b keeps the lines apart)
    from kswatch.dashboard.auth.settings import is_loopback, read_access, refuse_open_door
    from kswatch.db.store import Store

    config = ctx.obj["config"]["dashboard"]
    chosen, where = port or config.port, address or config.address
    refuse_open_door(read_access(os.environ), where, config.hosts)
    refuse_taken_port(chosen, where)
    if not is_loopback(where):
        typer.echo("kswatch: names and tokens travel as they are; put a proxy with TLS before it", err=True)
    # opened once here: a missing store is made, an older one brought to the newest schema
    Store.open(ctx.obj["database_url"]).close()
    arguments = streamlit_arguments(chosen, where)
    passed = server_environment(ctx.obj["database_url"], config.hosts, ctx.obj["config"]["db"].limits)
    os.execve(arguments[0], arguments, os.environ | passed)


def server_environment(url: str, hosts: tuple[str, ...], limits: Limits) -> dict[str, str]:
    """What the server must know of the configuration, which it does not read itself."""
    return {
        "KSWATCH_DATABASE_URL": url,
        "KSWATCH_DASHBOARD_HOSTS": ",".join(hosts),
        "KSWATCH_DASHBOARD_LIMITS": f"{limits.cells},{limits.minutes},{limits.requests_per_hour}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])),
    }


def streamlit_arguments(port: int, address: str = HOST) -> list[str]:
    """The command line that starts the server; `SETTINGS` hold whatever the user's own settings say."""
    where = {"server.port": str(port), "server.address": address}
    settings = [f"--{name}={value}" for name, value in (SETTINGS | where).items()]
    return [sys.executable, "-m", "streamlit", "run", str(HERE / "asgi.py"), *settings]


def refuse_taken_port(port: int, address: str = HOST) -> None:
    """Say so, in words, where something else listens on the port.

    Raises:
        UsageError: it cannot be bound.
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

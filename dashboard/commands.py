"""`kswatch dashboard`: starts Streamlit on this store, for this machine only."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from kswatch_errors import UsageError

app = typer.Typer()

HERE = Path(__file__).parent
HOST = "127.0.0.1"
SETTINGS: dict[str, str] = {
    "server.address": HOST,
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "type",
}
"""Given on Streamlit's command line, so that no settings file of the user's can undo them."""


@app.command()
def dashboard(
    ctx: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1; 8501 by default.")
    ] = None,
) -> None:
    """Open the dashboard on http://127.0.0.1:8501; Ctrl-C stops it.

    \b
    Examples:
      kswatch dashboard
      kswatch dashboard --port 9000
      KSWATCH_DATABASE_URL=sqlite:///other.db kswatch dashboard

    From another machine, reach it by a tunnel: ssh -L 8501:127.0.0.1:8501 HOST
    """  # noqa: D301  (backslash b keeps the lines apart)
    from db.store import Store

    chosen = port or ctx.obj["config"]["dashboard"].port
    refuse_taken_port(chosen)
    # opened once here: a missing store is made, an older one brought to the newest schema
    Store.open(ctx.obj["database_url"]).close()
    environment = os.environ | {
        "KSWATCH_DATABASE_URL": ctx.obj["database_url"],
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])),
    }
    arguments = streamlit_arguments(chosen)
    os.execve(arguments[0], arguments, environment)


def streamlit_arguments(port: int) -> list[str]:
    """The command line that starts the server; `SETTINGS` hold whatever the user's own settings say."""
    settings = [f"--{name}={value}" for name, value in (SETTINGS | {"server.port": str(port)}).items()]
    return [sys.executable, "-m", "streamlit", "run", str(HERE / "app.py"), *settings]


def refuse_taken_port(port: int) -> None:
    """Say so, in words, where something else listens on the port.

    Raises:
        UsageError: it cannot be bound.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"port {port} on {HOST} cannot be used ({error.strerror}); "
                f"choose another, as in --port {port + 1}"
            ) from error

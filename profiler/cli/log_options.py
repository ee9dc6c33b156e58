"""Logging options of `serve`, `worker` and `nightly`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class LogFormat(StrEnum):
    """Forms of a log line."""

    TEXT = "text"
    JSON = "json"


VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Also log debug messages.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No tables and no progress: log lines on stderr instead.")
]
LogFormatOption = Annotated[
    LogFormat, typer.Option("--log-format", help="Log lines as text, or as one JSON object each.")
]


def configure_logging(form: LogFormat | None, verbose: bool) -> None:
    """Begin to log, before anything else can fail; None is for a person, who reads the messages alone."""
    from kswatch import logs

    logs.configure(form.value if form else "plain", verbose)

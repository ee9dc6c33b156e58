"""The output formats of `check` and `gate`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """Output format of a judgement."""

    text = "text"
    json = "json"
    junit = "junit"
    markdown = "markdown"
    github = "github"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="Output format.")]

"""The output formats of a result, the same six for a check, a measured gate and a static gate."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from kswatch.db.cli.terminal import escape, without_commands
from kswatch.db.json_text import to_json_text
from kswatch.errors import ConfigurationError

Result = TypeVar("Result")


@dataclass(frozen=True)
class ResultFormatter(Generic[Result]):
    """A function for each format; each escapes text that comes from outside."""

    text: Callable[[Result], str]
    rows: Callable[[Result], list[dict[str, object]]]
    """For JSON: one object for each judged cell or kernel."""
    junit: Callable[[Result], str]
    markdown: Callable[[Result], str]
    annotations: Callable[[Result], str]
    """GitHub workflow commands, one a line."""
    comment: Callable[[Result, str], str]
    """With the address of the whole result; empty where nothing changed."""

    def render(self, result: Result, output_format: str, link: str = "") -> str:
        """The result in an `OutputFormat`; `github` appends the Markdown to the step summary.

        Args:
            result: Of a check or a gate.
            output_format: The value of an `OutputFormat`.
            link: The address of the result's page, for the comment and the step summary; empty without one.
        """
        if output_format == "json":
            return to_json_text(self.rows(result))
        if output_format == "junit":
            return self.junit(result)
        if output_format == "markdown":
            return self.markdown(result)
        if output_format == "comment":
            return self.comment(result, link)
        text = self.text(result)
        if output_format == "text":
            return text
        append_step_summary(self.markdown(result) + (f"\n[on the dashboard]({link})\n" if link else ""))
        parts = (without_commands(escape(text)), self.annotations(result))
        return "\n".join(part for part in parts if part)


LARGEST_SUMMARY_BYTES = 1_000_000
"""GitHub shows none of a step's summary that is larger than 1 MiB."""


def append_step_summary(markdown: str) -> None:
    """Append the report to the step's summary page, where GITHUB_STEP_SUMMARY is set; cut at the limit.

    Raises:
        ConfigurationError: the file that GITHUB_STEP_SUMMARY names cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(_shortened(markdown))
    except OSError as error:
        raise ConfigurationError(
            f"GITHUB_STEP_SUMMARY names {path}, which cannot be written ({error.strerror}); unset it"
        ) from error


def _shortened(markdown: str) -> str:
    content = markdown.encode()
    if len(content) <= LARGEST_SUMMARY_BYTES:
        return markdown
    tail = "\n\nCut at the size of a step summary; the log has the whole result.\n"
    kept = content[: LARGEST_SUMMARY_BYTES - len(tail)].decode("utf-8", "ignore")
    return kept[: kept.rfind("\n")] + tail

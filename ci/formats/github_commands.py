"""GitHub's annotations, as workflow commands on stdout, and its step summary."""

from __future__ import annotations

import os
from pathlib import Path

from kswatch.ci.formats.escape import annotation_property, annotation_text
from kswatch.errors import ConfigurationError


def annotation(level: str, title: str, message: str) -> str:
    """One workflow command; `level` is error, warning or notice."""
    return f"::{level} title={annotation_property(title)}::{annotation_text(message)}"


def append_step_summary(markdown: str) -> None:
    """Append the report to the step's summary page, where GITHUB_STEP_SUMMARY is set.

    Raises:
        ConfigurationError: the file that GITHUB_STEP_SUMMARY names cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(markdown)
    except OSError as error:
        raise ConfigurationError(
            f"GITHUB_STEP_SUMMARY names {path}, which cannot be written ({error.strerror}); unset it"
        ) from error

"""The output formats of a check."""

from __future__ import annotations

from kswatch.ci.check import CheckResult
from kswatch.ci.formats.formatter import ResultFormatter
from kswatch.ci.reports.github import workflow_commands
from kswatch.ci.reports.json_rows import check_rows
from kswatch.ci.reports.junit import check_junit
from kswatch.ci.reports.text_and_markdown import markdown_report, text_report


def check_formatter(rows: int) -> ResultFormatter[CheckResult]:
    """The formats of a check, with at most `rows` changed series of each run in text and Markdown."""
    return ResultFormatter(
        text=lambda result: text_report(result, rows),
        rows=check_rows,
        junit=lambda result: check_junit(result, text_report(result, rows)),
        markdown=lambda result: markdown_report(result, rows),
        annotations=workflow_commands,
    )

"""The checks of `kswatch doctor` as lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.markup import escape

from kswatch.profiler.diagnostics import Check
from kswatch.profiler.reports.run_table import console


def print_checks(checks: Iterable[Check]) -> None:
    """Print a line per check, with the cure below a failure."""
    out = console()
    for check in checks:
        mark = "[green]ok  [/]" if check.ok else "[red]FAIL[/]"
        out.print(f"{mark} {check.name:<14} {escape(check.what)}", highlight=False, soft_wrap=True)
        if check.cure:
            out.print(f"     {'':<14} fix: {escape(check.cure)}", highlight=False, soft_wrap=True)

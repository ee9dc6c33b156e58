"""What the doctor found, for people."""

from __future__ import annotations

from collections.abc import Iterable

from kswatch.profiler.diagnostics import Check
from kswatch.profiler.reports.run_table import console


def print_checks(checks: Iterable[Check]) -> None:
    """A line for each thing looked at, with the cure below where it is not well."""
    out = console()
    for check in checks:
        mark = "[green]ok  [/]" if check.ok else "[red]ILL [/]"
        out.print(f"{mark} {check.name:<14} {check.what}", highlight=False, soft_wrap=True)
        if check.cure:
            out.print(f"     {'':<14} cure: {check.cure}", highlight=False, soft_wrap=True)

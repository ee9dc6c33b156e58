"""A planned run as a table for the terminal."""

from __future__ import annotations

from rich.table import Table

from kswatch.profiler.planning.budget import as_text
from kswatch.profiler.planning.dry_run import DryRun
from kswatch.profiler.reports.run_table import console


def print_dry_run(planned: DryRun) -> None:
    """Print the part of each stratum that fits, and the expected duration."""
    table = Table("family", title=_title(planned), title_justify="left")
    for name in ("batch", "precision", "layout"):
        table.add_column(name)
    for name in ("problems", "whole", "cells", "left out"):
        table.add_column(name, justify="right")
    for row in planned.strata:
        texts = (row.family, row.batch, row.precision, row.layout)
        counts = (row.problems, row.whole_problems, row.cells, row.cells_left_out)
        table.add_row(*map(str, texts + counts))
    console().print(table)


def _title(planned: DryRun) -> str:
    title = f"{planned.suite} on {planned.device}: {planned.cells:,} cells"
    if planned.cells_left_out:
        title += f", {planned.cells_left_out:,} left out"
    title += f", up to {planned.memory_bytes / 1e9:.2g} GB"
    if planned.minutes is None:
        return f"{title}; no estimate yet: this device was never measured"
    return f"{title}, about {as_text(60 * planned.minutes)} (estimated from {planned.estimated_from})"

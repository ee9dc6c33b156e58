"""The comparison of two runs as a table for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kswatch.profiler.reports.run_diff import CellChange, RunComparison

MAX_ROWS = 30


def print_comparison(compared: RunComparison, console: Console) -> None:
    """Print the cells with the largest changes, the counts, and changes of the environment."""
    changed = [cell for cell in compared.cells if cell.verdict != "same"]
    if changed:
        console.print(_table(compared, changed[:MAX_ROWS]))
    if len(changed) > MAX_ROWS:
        console.print(f"... and {len(changed) - MAX_ROWS} more; --json shows all")
    ratio = f", median ratio {compared.median_ratio:.3f}" if compared.median_ratio else ""
    console.print(
        f"{len(compared.cells)} cells in both runs: {compared.count('faster')} faster, "
        f"{compared.count('slower')} slower, {compared.count('same')} same{ratio}"
    )
    if compared.only_before or compared.only_after:
        console.print(
            f"not compared: {compared.only_before} cells only in run {compared.before}, "
            f"{compared.only_after} only in run {compared.after}"
        )
    for change in compared.environment_changes:
        console.print(escape(f"environment: {change.name} was {change.before}, is {change.after}"))


def _table(compared: RunComparison, cells: list[CellChange]) -> Table:
    title = f"latency, run {compared.after} against run {compared.before}"
    table = Table(title=title, title_justify="left")
    for name in ("pattern", "batch", "precision", "layout", "implementation"):
        table.add_column(name, no_wrap=True)
    for name in ("before", "after", "ratio", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for cell in cells:
        table.add_row(
            cell.pattern,
            str(cell.batch),
            cell.precision,
            cell.layout,
            cell.implementation,
            f"{cell.before_ms:.3g} ms",
            f"{cell.after_ms:.3g} ms",
            f"{cell.ratio:.3f}",
            _interval(cell),
            f"[{'green' if cell.verdict == 'faster' else 'red'}]{cell.verdict}[/]",
        )
    return table


def _interval(cell: CellChange) -> str:
    known = cell.ratio_low is not None and cell.ratio_high is not None
    return f"{cell.ratio_low:.3f} - {cell.ratio_high:.3f}" if known else "unknown"

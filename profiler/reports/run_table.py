"""The results of a run as tables for the terminal: fused against the best baseline, problem by problem."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kswatch.db.cli.terminal import make_console
from kswatch.db.queries import basic as queries
from kswatch.db.queries.baseline_sets import ForeignResult, RunSets, foreign_results, run_sets
from kswatch.db.queries.basic import ComparisonRow, MeasurementRow, SummaryRow
from kswatch.db.records import BASELINE_SETS, COMPARABLE, EXPERT, PAPER
from kswatch.db.store import Store
from kswatch.declared.implementations import names

MAX_ROWS = 40
"""Of a run with more problems only the best and the worst are shown."""

WIDTH = 150

Times = dict[tuple[int, str], MeasurementRow]


def console() -> Console:
    """A console on stdout; without a terminal, tables have a fixed width."""
    return make_console(width=None if sys.stdout.isatty() else WIDTH)


def print_run(store: Store, run_id: int, console: Console) -> None:
    """Print the run's problems, its headlines, and the cells that are not ok, with reasons."""
    measured = queries.measurements(store, run_id)
    times = {(row.problem_id, row.implementation): row for row in measured if row.mode != "hot"}
    headlines = [
        row
        for name in BASELINE_SETS
        for row in queries.summaries(store, run_id, metric="latency", baselines=name)
    ]
    sets = run_sets(store, [run_id])[run_id]
    compared = queries.comparisons(store, run_id, baselines=sets.headline)
    console.print(_problem_table(compared, times, sets.headline), _headline_table(headlines, sets))
    if foreign := foreign_results(store, run_id):
        console.print(_foreign_table(foreign))
    if failures := _failures(measured):
        console.print(failures)


def _problem_table(comparisons: Sequence[ComparisonRow], times: Times, baselines: str) -> Table:
    table = Table(title=f"latency: fused against the fastest baseline of {baselines}", title_justify="left")
    for name in ("pattern", "batch", "precision", "layout"):
        table.add_column(name, no_wrap=True)
    for name in ("fused", "fastest baseline", "speedup", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = sorted(comparisons, key=lambda row: -(row.speedup or 0.0))
    half = MAX_ROWS // 2
    for row in shown if len(shown) <= MAX_ROWS else shown[:half]:
        table.add_row(*_problem_cells(row, times))
    if len(shown) > MAX_ROWS:
        table.add_row(f"... {len(shown) - 2 * half} more ...")
        for row in shown[-half:]:
            table.add_row(*_problem_cells(row, times))
    return table


def _problem_cells(row: ComparisonRow, times: Times) -> Iterable[str]:
    yield f"{row.a},{row.b},{row.c},{row.d}"
    yield str(row.batch)
    yield row.precision
    yield row.layout
    yield _time(times.get((row.problem_id, "fused")))
    if row.speedup is None or row.best_baseline is None:
        yield f"left out ({escape(row.left_out or '')})"
        return
    yield f"{row.best_baseline} {_time(times.get((row.problem_id, row.best_baseline)))}"
    yield f"[{_style(row)}]{row.speedup:.2f}×[/]"
    if row.speedup_low is not None and row.speedup_high is not None:
        yield f"{row.speedup_low:.2f} - {row.speedup_high:.2f}"


def _style(row: ComparisonRow) -> str:
    """Coloured only where the whole interval is on one side of 1."""
    if row.speedup_low is not None and row.speedup_low > 1:
        return "green"
    return "red" if row.speedup_high is not None and row.speedup_high < 1 else "default"


def _time(row: MeasurementRow | None) -> str:
    if row is None:
        return "not measured"
    if row.latency_ms is None or row.status not in COMPARABLE:
        return row.status
    low, high = row.latency_low_ms or row.latency_ms, row.latency_high_ms or row.latency_ms
    percent = 50 * (high - low) / row.latency_ms
    return f"{row.latency_ms:.3g} ms " + (f"±{percent:.1f} %" if percent < 100 else "± over 100 %")


def _headline_table(headlines: Sequence[SummaryRow], sets: RunSets) -> Table:
    rivals = f"; expert: also rivals ({escape(sets.in_words)})" if sets.headline == EXPERT else ""
    table = Table(
        title="headline (speedup > 1: fused is faster than the fastest of these baselines)",
        title_justify="left",
        caption=f"paper: {', '.join(BASELINE_SETS[PAPER])}; all: with {' and '.join(names('stock'))}{rivals}",
        caption_justify="left",
    )
    for name in ("baselines", "precision", "layout"):
        table.add_column(name)
    for name in ("problems", "fused wins", "median speedup", "quartiles", "left out"):
        table.add_column(name, justify="right")
    for row in sorted(headlines, key=lambda row: (row.precision, row.layout, row.baselines)):
        known = row.median_speedup is not None
        table.add_row(
            row.baselines,
            row.precision,
            row.layout,
            str(row.problems),
            str(row.fused_wins),
            f"{row.median_speedup:.2f}×" if known else "",
            f"{row.speedup_p25:.2f} - {row.speedup_p75:.2f}" if known else "",
            str(row.left_out),
        )
    return table


def _foreign_table(foreign: Mapping[str, ForeignResult]) -> Table:
    table = Table(title="implementations of other projects, in no set of baselines", title_justify="left")
    for name in ("implementation", "of", "cells", "latency / fused"):
        table.add_column(name)
    for name, found in foreign.items():
        ratio = found.median_ratio_to_fused
        cells = ", ".join(f"{count} {status}" for status, count in found.by_status.items())
        table.add_row(escape(name), escape(found.library), cells, f"{ratio:.2f}" if ratio else "not paired")
    return table


def _failures(measured: Iterable[MeasurementRow]) -> Table | None:
    """Cells without a measurement or with a wide interval: counts by status, implementations, a reason."""
    groups: dict[tuple[str, str], list[MeasurementRow]] = defaultdict(list)
    for row in measured:
        if row.status != "ok":
            # reasons of `unsupported` are few and differ by implementation; others hold figures of the cell
            groups[row.status, row.reason or "" if row.status == "unsupported" else ""].append(row)
    if not groups:
        return None
    table = Table(title="cells that are not ok", title_justify="left")
    table.add_column("cells", justify="right")
    for name in ("status", "implementations", "reason"):
        table.add_column(name)
    for (status, _), rows in sorted(groups.items()):
        names = Counter(row.implementation for row in rows)
        table.add_row(str(len(rows)), status, ", ".join(names), _reason(rows))
    return table


def _reason(rows: Sequence[MeasurementRow]) -> str:
    """The common reason of the cells, or that of the first one."""
    if rows[0].status == "not_converged":
        return "too few samples for an interval of the required width; the median is used, with this flag"
    several = len({row.reason for row in rows}) > 1
    return f"{escape(rows[0].reason or '')}{'; others similar' if several else ''}"

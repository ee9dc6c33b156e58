"""Two runs side by side: what differs between them, and each cell's time before and after."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard import cached_queries, url_state
from dashboard.naming import count, percent, problem_labels, utc
from dashboard.panels import finding, note, show_table
from db.queries import RunRow

KEY = ["pattern", "batch", "precision", "layout", "implementation", "mode"]
METRICS = {"latency_ms": "time per product (ms)", "energy_mj": "energy per product (mJ)"}


def run_name(run: RunRow) -> str:
    """A run in one line."""
    return f"{run.id} · {run.device_model} · {run.suite} · {utc(run.started_at)}"


def show_comparison(runs: Sequence[RunRow]) -> None:
    """Draw the boxes for two runs and what they have in common."""
    if len(runs) < 2:
        note("Two runs are needed; there is one so far.")
        return
    with st.container(horizontal=True, gap="small"):
        before = _choose("Before", "before", runs, _partner(runs))
        after = _choose("After", "after", runs, runs[0])
        metric = url_state.select("Metric", "metric", list(METRICS), show=METRICS.__getitem__, width=220)
    if before.id == after.id:
        note("Choose two different runs.")
        return
    _differences(before, after)
    _table(before, after, metric)


def _choose(label: str, name: str, runs: Sequence[RunRow], default: RunRow) -> RunRow:
    return url_state.select(
        label, name, runs, default, show=run_name, as_text=lambda run: str(run.id), width=360
    )


def _partner(runs: Sequence[RunRow]) -> RunRow:
    """The run before the newest, on the same device and of the same suite where there is one."""
    same = (run for run in runs[1:] if (run.device_id, run.suite) == (runs[0].device_id, runs[0].suite))
    return next(same, runs[1])


def _differences(before: RunRow, after: RunRow) -> None:
    if before.device_id != after.device_id:
        note("These are two devices; energy read by different boards must not be ranked.")
    changed: list[tuple[str, ...]] = [
        (change.name, str(change.before), str(change.after))
        for change in cached_queries.environment_changes(before.id, after.id)
    ]
    commits = [run.revision.commit[:9] if run.revision else "none" for run in (before, after)]
    if commits[0] != commits[1]:
        changed.append(("revision", *commits))
    if changed:
        show_table(pd.DataFrame(changed, columns=["differs", "before", "after"]))
    else:
        note("Same environment, same revision.")


def _table(before: RunRow, after: RunRow, metric: str) -> None:
    both = compared(
        cached_queries.run_measurements(before.id), cached_queries.run_measurements(after.id), metric
    )
    if both.empty:
        note(f"The two runs have no cell in common with a {METRICS[metric]}.")
        return
    clear = both[both["clear"]]
    worse, better = int((clear["change"] > 0).sum()), int((clear["change"] < 0).sum())
    words = ("slower", "faster") if metric == "latency_ms" else ("need more", "need less")
    finding(f"{worse} {words[0]}, {better} {words[1]}, {len(both) - len(clear)} cannot be told apart")
    note(f"{count(len(both), 'cell')} in common; clear means that the 95 % intervals do not overlap.")
    table = both.assign(change=both["change"].map(percent))
    columns = ["problem", "implementation", "mode", "change", "clear", "before", "after"]
    unit = METRICS[metric].rpartition("(")[2].rstrip(")")
    names = {"before": f"before ({unit})", "after": f"after ({unit})"}
    show_table(table[columns].rename(columns=names))


def compared(before: pd.DataFrame, after: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Cells that both runs hold with a number, the clear and large changes first.

    Args:
        before: measurements of one run, with `pattern`.
        after: of the other.
        metric: `latency_ms` or `energy_mj`.
    """
    low, high = metric.replace("_", "_low_"), metric.replace("_", "_high_")
    columns = [*KEY, metric, low, high]
    both = before[columns].merge(after[columns], on=KEY, suffixes=("_1", "_2"))
    both = both.dropna(subset=[f"{metric}_1", f"{metric}_2"])
    apart = (both[f"{low}_2"] > both[f"{high}_1"]) | (both[f"{high}_2"] < both[f"{low}_1"])
    change = both[f"{metric}_2"] / both[f"{metric}_1"] - 1
    both = both.assign(change=change, clear=apart, before=both[f"{metric}_1"], after=both[f"{metric}_2"])
    both = both.assign(problem=problem_labels(both), size=change.abs())
    return both.sort_values(["clear", "size"], ascending=False)

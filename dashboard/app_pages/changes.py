"""What the newest runs' verdicts say: a headline, and the table of changes, the worst first."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dashboard import cached_queries, links
from dashboard.naming import count, metric_label, percent
from dashboard.panels import finding, hint, note, show_table
from db.queries import RunRow

MOST_ROWS = 200

COLUMNS: dict[str, str] = {
    "verdict": "verdict",
    "change": "change",
    "between": "95 % interval",
    "device": "device",
    "pattern": "pattern",
    "batch": "batch",
    "precision": "precision",
    "layout": "layout",
    "implementation": "implementation",
    "metric": "metric",
    "cause": "cause",
    "reason": "reason",
    "run_id": "run",
}


def are_judged(runs: Sequence[RunRow]) -> bool:
    """Whether any of these runs has a verdict."""
    return not _verdicts(runs).empty


def headline(runs: Sequence[RunRow]) -> str:
    """What changed in these runs, in one sentence."""
    frame = _verdicts(runs)
    if frame.empty:
        return "The newest runs have not been judged yet"
    slower, faster = ((frame["verdict"] == name).sum() for name in ("slower", "faster"))
    judged = f"{len(frame):,} judged series on {count(len(runs), 'device')}"
    if not slower and not faster:
        return f"Nothing changed last night in {judged}"
    return f"Last night: {slower} slower, {faster} faster, of {judged}"


def show_changes(runs: Sequence[RunRow]) -> None:
    """The table of what became faster or slower, or cannot be told; choosing a row opens its pattern."""
    frame = _verdicts(runs)
    if frame.empty:
        hint("`kswatch check` judges the newest run of each device against its history.")
        return
    changed = frame[frame["verdict"] != "same"]
    finding("What changed, the worst first")
    if changed.empty:
        note("Every judged series is within its noise.")
        return
    order = changed["verdict"].map({"slower": 0, "faster": 1, "ambiguous": 2})
    changed = changed.assign(order=order, size=changed["change"].abs())
    changed = changed.sort_values(["order", "size"], ascending=[True, False])
    table = _readable(changed.head(MOST_ROWS), runs)
    chosen = show_table(
        table[list(COLUMNS)].rename(columns=COLUMNS),
        on_select="rerun",
        selection_mode="single-row",
        key="changes",
    )
    if len(changed) > MOST_ROWS:
        note(f"The first {MOST_ROWS} of {len(changed):,}.")
    note("Choose a row to open its pattern.")
    if chosen.selection.rows:
        _open(table.iloc[chosen.selection.rows[0]])


def _verdicts(runs: Sequence[RunRow]) -> pd.DataFrame:
    frames = [cached_queries.verdicts(run.id) for run in runs]
    filled = [frame for frame in frames if not frame.empty]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=["verdict"])


def _readable(frame: pd.DataFrame, runs: Sequence[RunRow]) -> pd.DataFrame:
    names = {run.id: run.device_model for run in runs}
    uuids = {run.id: run.device_uuid for run in runs}
    letters = frame[list("abcd")].astype(str)
    return frame.assign(
        pattern=letters.agg(",".join, axis=1),
        device=frame["run_id"].map(names),
        uuid=frame["run_id"].map(uuids),
        metric=frame["metric"].map(metric_label),
        change=frame["change"].map(percent),
        between=[
            f"{percent(low)} to {percent(high)}"
            for low, high in zip(frame["change_low"], frame["change_high"], strict=True)
        ],
    )


def _open(row: pd.Series) -> None:
    links.go_to(
        "pattern",
        device=row["uuid"],
        pattern=row["pattern"],
        batch=row["batch"],
        precision=row["precision"],
        layout=row["layout"],
    )

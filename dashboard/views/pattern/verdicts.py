"""The verdicts on one problem other than `same`, and their alerts."""

from __future__ import annotations

import pandas as pd

from kswatch.dashboard.components import links
from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.components.panels import choose_row, finding, note
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import cause_label, count, interval, metric_label, percent
from kswatch.dashboard.views.overview.changes import MARKS
from kswatch.db.records import ProblemKey


def show_verdicts(scope: Scope, problem: ProblemKey) -> None:
    """Draw the table of verdicts; choosing a row that has an alert opens it."""
    frame = cached_queries.problem_verdicts(scope.run_ids, problem)
    if frame.empty:
        note("No change of this problem was flagged in these runs.")
        return
    alerts = frame["alert_id"].dropna().nunique()
    finding(f"{count(len(frame), 'change')} flagged" + (f", {count(alerts, 'alert')}" if alerts else ""))
    table = pd.DataFrame(
        {
            "run": frame["run_id"],
            "verdict": frame["verdict"].map(MARKS),
            "change": frame["change"].map(percent),
            "95 % interval": list(map(interval, frame["change_low"], frame["change_high"])),
            "implementation": frame["implementation"],
            "metric": frame["metric"].map(metric_label),
            "likely cause": frame["cause"].map(cause_label),
            "alert": frame["alert_id"],
            "reason": frame["reason"],
        }
    )
    place = choose_row(table, "verdicts", "to open its alert, or its run where it has none")
    if place is not None:
        row = frame.iloc[place]
        if row["alert_id"] == row["alert_id"]:
            links.go_to("alerts", alert=int(row["alert_id"]))
        links.open_run(str(row["run_id"]))

"""What was judged of one problem: its verdicts that are not `same`, and the alerts that tell of them."""

from __future__ import annotations

import pandas as pd

from kswatch.dashboard.components import links
from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.components.panels import choose_row, finding, note
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import count, metric_label, percent
from kswatch.dashboard.views.overview.changes import MARKS
from kswatch.db.records import ProblemKey


def show_said(scope: Scope, problem: ProblemKey) -> None:
    """Draw the table of verdicts; choosing a row that has an alert opens it."""
    frame = cached_queries.problem_verdicts(scope.run_ids, problem)
    if frame.empty:
        note("No series of this problem was judged other than the same in these runs.")
        return
    alerts = frame["alert_id"].dropna().nunique()
    finding(
        f"{count(len(frame), 'step')} of its series stood out"
        + (f"; {count(alerts, 'alert')} told of it" if alerts else "")
    )
    table = pd.DataFrame(
        {
            "run": frame["run_id"],
            "verdict": frame["verdict"].map(MARKS),
            "change": frame["change"].map(percent),
            "95 % interval": [
                f"{percent(low)} to {percent(high)}"
                for low, high in zip(frame["change_low"], frame["change_high"], strict=True)
            ],
            "implementation": frame["implementation"],
            "metric": frame["metric"].map(metric_label),
            "cause": frame["cause"],
            "alert": frame["alert_id"],
            "reason": frame["reason"],
        }
    )
    place = choose_row(table, "said", "to open its alert, or its run where it has none")
    if place is not None:
        row = frame.iloc[place]
        if row["alert_id"] == row["alert_id"]:
            links.go_to("alerts", alert=int(row["alert_id"]))
        links.open_run(str(row["run_id"]))

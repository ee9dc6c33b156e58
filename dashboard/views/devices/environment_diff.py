"""Two environments side by side: changed properties first, then unchanged ones."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import code_links
from kswatch.dashboard.components.panels import finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import revision_label
from kswatch.db.queries.basic import RunRow

UNKNOWN = "unknown"


def show_difference(before: RunRow, after: RunRow) -> None:
    """Draw the differences between two runs besides their measurements; unchanged properties are folded."""
    changed: list[tuple[str, ...]] = [
        (change.name, _as_text(change.before), _as_text(change.after))
        for change in cached_queries.environment_changes(before.id, after.id)
    ]
    revisions = [revision_label(run.revision) or UNKNOWN for run in (before, after)]
    if revisions[0] != revisions[1]:
        changed.append(("revision", *revisions))
    if before.device_id != after.device_id:
        changed.insert(0, ("device", before.device_model, after.device_model))
    titles = ["property", f"run {before.id}", f"run {after.id}"]
    if changed:
        finding(f"Changes in environment and revision ({len(changed)})")
        show_table(pd.DataFrame(changed, columns=titles))
        _commits(before, after)
    else:
        note("Same environment and revision: only the machine itself can have changed.")
    same = _unchanged(before, after)
    if same:
        with st.expander(f"Unchanged ({len(same)})"):
            show_table(pd.DataFrame(same, columns=["property", "value"]))


def _commits(before: RunRow, after: RunRow) -> None:
    """Draw links to both commits and to those between them."""
    if before.revision and after.revision and before.revision.commit != after.revision.commit:
        good, bad = before.revision.commit, after.revision.commit
        both = " and ".join(map(code_links.commit_link, (good, bad)))
        st.caption(f"Commits {both}; between them: {code_links.range_link(good, bad)}")


def _as_text(value: object) -> str:
    return UNKNOWN if value is None else str(value)


def _unchanged(before: RunRow, after: RunRow) -> list[tuple[str, str]]:
    """Known properties of the environment that are equal in both runs."""
    first, second = (dict(vars(run.environment)) for run in (before, after))
    for facts in (first, second):
        facts |= facts.pop("extra")
    return [
        (name, str(value))
        for name, value in first.items()
        if value not in (None, "", {}) and second.get(name) == value
    ]

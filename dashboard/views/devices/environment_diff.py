"""Two environments side by side: what differs first, then what is the same."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.components.panels import finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import count
from kswatch.db.queries.basic import RunRow

SHORT_COMMIT = 9
UNKNOWN = "not known"


def show_difference(before: RunRow, after: RunRow) -> None:
    """Draw what differs between two runs besides their numbers; the rest waits behind a fold."""
    changed: list[tuple[str, ...]] = [
        (change.name, _told(change.before), _told(change.after))
        for change in cached_queries.environment_changes(before.id, after.id)
    ]
    commits = [_commit(run) for run in (before, after)]
    if commits[0] != commits[1]:
        changed.append(("revision", *commits))
    if before.device_id != after.device_id:
        changed.insert(0, ("device", before.device_model, after.device_model))
    titles = ["what", f"run {before.id}", f"run {after.id}"]
    if changed:
        finding(
            f"{count(len(changed), 'thing')} differ{'s' if len(changed) == 1 else ''} besides the numbers"
        )
        show_table(pd.DataFrame(changed, columns=titles))
    else:
        note("Same environment, same revision: only the machine itself can have moved.")
    same = _the_same(before, after)
    if same:
        with st.expander(f"{count(len(same), 'thing')} that are the same"):
            show_table(pd.DataFrame(same, columns=["what", "is"]))


def _told(value: object) -> str:
    return UNKNOWN if value is None else str(value)


def _commit(run: RunRow) -> str:
    if run.revision is None:
        return UNKNOWN
    dirty = " dirty" if run.revision.dirty else ""
    return f"{run.revision.commit[:SHORT_COMMIT]}{dirty} {run.revision.subject or ''}".strip()


def _the_same(before: RunRow, after: RunRow) -> list[tuple[str, str]]:
    """Facts of the environment that are known and equal on both sides."""
    one, other = (dict(vars(run.environment)) for run in (before, after))
    for facts in (one, other):
        facts |= facts.pop("extra")
    return [
        (name, str(value))
        for name, value in one.items()
        if value not in (None, "", {}) and other.get(name) == value
    ]

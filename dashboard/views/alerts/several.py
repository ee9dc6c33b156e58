"""Several alerts acknowledged at once, and the way back."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components.panels import note, show_error
from kswatch.dashboard.data.store import writing_store
from kswatch.dashboard.formatting.labels import count
from kswatch.db.alerts import lifecycle
from kswatch.db.queries.basic import AlertRow
from kswatch.errors import KswatchError, UsageError

_DONE = "acknowledged_alerts"
"""Of a session: the acknowledged alerts with their versions, and their user."""

Seen = tuple[int, int]
"""The id of an alert, and its version."""


def show_acknowledgement(alerts: list[AlertRow]) -> None:
    """Draw the button that acknowledges these alerts, those that are still open."""
    waiting = [(alert.id, alert.version) for alert in alerts if alert.state == "open"]
    if not waiting or not current_user.get_user().may_act:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = current_user.name_box("who_several")
        if st.button(f"Acknowledge {count(len(waiting), 'alert')}", type="primary", key="act_several"):
            offer_undo(*_act_on("acknowledge", waiting, name), name)
            st.rerun()


def show_undo() -> None:
    """Draw what was acknowledged last, with the button that takes it back, and what could not be done."""
    found = st.session_state.get(_DONE)
    if not found:
        return
    done, refused, name = found
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if done:
            note(f"Acknowledged {', '.join(f'alert {alert_id}' for alert_id, _ in done)}.")
            if st.button("Undo", icon=":material/undo:", type="tertiary", key="undo_acknowledge"):
                _, refused = _act_on("unacknowledge", done, name)
                offer_undo([], refused, name)
                st.rerun()
    for error in refused:
        show_error(error)


def offer_undo(done: list[Seen], refused: list[KswatchError], name: str) -> None:
    """Keep what was acknowledged by this name, with the versions since, for the next drawing."""
    st.session_state[_DONE] = (done, refused, name) if done or refused else None


def _act_on(action: str, alerts: Iterable[Seen], name: str) -> tuple[list[Seen], list[KswatchError]]:
    """The alerts acted on with their new versions, and why others were refused."""
    done: list[Seen] = []
    refused: list[KswatchError] = []
    with writing_store() as store:
        for alert_id, version in alerts:
            try:
                user = current_user.acting_name(name)
                done.append((alert_id, lifecycle.act(store, alert_id, action, user, None, version)))
            except UsageError as error:
                refused.append(error)
    return done, refused

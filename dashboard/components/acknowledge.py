"""Acknowledging an alert where it is shown, under the user's name."""

from __future__ import annotations

import streamlit as st

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components.panels import show_error
from kswatch.dashboard.data.store import writing_store
from kswatch.db.alerts import lifecycle
from kswatch.db.queries.basic import AlertRow
from kswatch.errors import UsageError

_ACTION = "acknowledge"


def show_acknowledge(alert: AlertRow) -> None:
    """Draw the button, whose form is sent when it is opened; nothing where the action is not allowed."""
    if alert.state not in lifecycle.ACTIONS[_ACTION].from_states or not current_user.get_user().may_act:
        return
    key = f"acknowledge_{alert.id}_{alert.version}"
    fold = st.popover("Acknowledge", type="tertiary", on_change="rerun", key=key)
    if not fold.open:
        return
    with fold, st.form(f"{key}_form", border=False):
        name = current_user.name_box(f"{key}_name")
        reason = st.text_input("Reason (optional)", max_chars=2000, key=f"{key}_reason")
        if st.form_submit_button("Acknowledge this alert", type="primary", key=f"{key}_submit"):
            _acknowledge(alert, name, reason)


def _acknowledge(alert: AlertRow, name: str, reason: str) -> None:
    try:
        with writing_store() as store:
            user = current_user.acting_name(name)
            lifecycle.act(store, alert.id, _ACTION, user, reason or None, alert.version)
    except UsageError as error:
        show_error(error)
        return
    st.rerun()

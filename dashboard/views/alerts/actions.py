"""The actions on an alert that its state allows, recorded with a name and a reason."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components import timezone
from kswatch.dashboard.components.panels import note, show_error
from kswatch.dashboard.data.store import writing_store
from kswatch.db.alerts import lifecycle
from kswatch.db.queries.basic import AlertRow
from kswatch.errors import UsageError


def show_actions(alert: AlertRow) -> None:
    """Draw the form; an action is refused where the alert has changed since it was drawn."""
    if not current_user.get_user().may_act:
        note("You may read this dashboard but not act on it.")
        return
    allowed = [name for name, action in lifecycle.ACTIONS.items() if alert.state in action.from_states]
    action = st.segmented_control(
        "Action",
        allowed,
        default=allowed[0],
        required=True,
        format_func=lambda name: name.replace("_", " "),
        key="alert_action",
    )
    with st.form(f"act_{alert.id}_{alert.version}", border=False):
        name = current_user.name_box(f"who_{alert.id}")
        assigned_to = st.text_input("Assignee", max_chars=120) if action == "assign" else None
        until = None
        if action == "mute":
            zone = ZoneInfo(timezone.zone_name())
            day = st.date_input(f"Until ({zone})", value=datetime.now(zone).date() + timedelta(days=7))
            until = datetime.combine(day, time(), tzinfo=zone)
        needed = lifecycle.ACTIONS[action].needs_reason
        title = "Reason" if needed else "Reason (optional)"
        reason = st.text_input(title, max_chars=2000, key=f"why_{alert.id}")
        label = action.replace("_", " ").capitalize()
        if not st.form_submit_button(label, type="primary", key=f"act_{alert.id}"):
            return
    try:
        with writing_store() as store:
            lifecycle.act(
                store,
                alert.id,
                action,
                current_user.acting_name(name),
                reason or None,
                alert.version,
                assigned_to=assigned_to,
                muted_until=until,
            )
    except UsageError as error:
        show_error(error)
        return
    st.rerun()

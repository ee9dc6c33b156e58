"""What a person may do with an alert: only what its state allows, with who and why."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from kswatch.dashboard.auth import current_user as visitor
from kswatch.dashboard.components import timezone as viewer
from kswatch.dashboard.components.panels import note
from kswatch.dashboard.data.store import writing_store
from kswatch.dashboard.formatting.markdown_escape import literal
from kswatch.db.alerts import lifecycle as alert_life
from kswatch.db.queries.basic import AlertRow
from kswatch.errors import UsageError


def show_actions(alert: AlertRow) -> None:
    """Draw the form; the act is refused where the alert has changed since it was drawn."""
    if not visitor.visitor().may_act:
        note("You may read this dashboard but not act on it.")
        return
    allowed = [name for name, action in alert_life.ACTIONS.items() if alert.state in action.from_states]
    action = st.segmented_control(
        "Do", allowed, default=allowed[0], format_func=lambda name: name.replace("_", " "), key="alert_action"
    )
    if action is None:
        return
    with st.form(f"act_{alert.id}_{alert.version}", border=False):
        who = visitor.name_box(f"who_{alert.id}")
        assigned_to = st.text_input("To whom", max_chars=120) if action == "assign" else None
        until = None
        if action == "mute":
            zone = ZoneInfo(viewer.zone_name())
            day = st.date_input(f"Until ({zone})", value=datetime.now(zone).date() + timedelta(days=7))
            until = datetime.combine(day, time(), tzinfo=zone)
        needed = alert_life.ACTIONS[action].needs_reason
        why = "Why" if needed else "Why (optional)"
        reason = st.text_input(why, max_chars=2000, key=f"why_{alert.id}")
        label = action.replace("_", " ").capitalize()
        if not st.form_submit_button(label, type="primary", key=f"act_{alert.id}"):
            return
    try:
        with writing_store() as store:
            alert_life.act(
                store,
                alert.id,
                action,
                visitor.acting_name(who),
                reason or None,
                alert.version,
                assigned_to=assigned_to,
                muted_until=until,
            )
    except UsageError as error:
        st.error(literal(error), icon=":material/error:")
        return
    st.rerun()

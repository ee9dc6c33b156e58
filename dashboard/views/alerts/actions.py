"""The actions on an alert that its state allows, recorded with a name and a reason."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.components import timezone
from kswatch.dashboard.components.panels import note, show_error
from kswatch.dashboard.data.store import writing_store
from kswatch.dashboard.views.alerts import several
from kswatch.db.alerts import lifecycle
from kswatch.db.queries.basic import AlertRow
from kswatch.errors import UsageError

EFFECTS: dict[str, str] = {
    "acknowledge": "Marks it as known. It stays live until {nights} clean nights in a row resolve it.",
    "unacknowledge": "Makes it untriaged again.",
    "assign": "Names the person who looks into it, and marks it as known.",
    "mute": "Sends no notification and fails no check until then; afterwards it is open again.",
    "unmute": "Opens it again, with notifications.",
    "resolve": "Ends it by hand. The level stays what it was before run {first}: if the next night is like "
    "these, a new alert opens.",
    "accept": "Makes the values since run {first} the new level: earlier nights no longer count, and "
    "later nights are judged against it. The change itself is not undone.",
    "false_alarm": "Ends it as noise: its nights count for the level, and it lowers the precision of alerts.",
    "reopen": "Opens it again as untriaged.",
}
"""The effect of each action on the judging of later nights."""


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
    note(EFFECTS[action].format(first=alert.opened_run_id, nights=lifecycle.GOOD_NIGHTS))
    with st.form(f"act_{alert.id}_{alert.version}", border=False):
        left, right = st.columns(2)
        with left:
            name = current_user.name_box(f"who_{alert.id}")
        needed = lifecycle.ACTIONS[action].needs_reason
        title = "Reason" if needed else "Reason (optional)"
        reason = right.text_input(title, max_chars=2000, key=f"why_{alert.id}")
        assigned_to = left.text_input("Assignee", max_chars=120) if action == "assign" else None
        until = _choose_end() if action == "mute" else None
        label = action.replace("_", " ").capitalize()
        if not st.form_submit_button(label, type="primary", key=f"act_{alert.id}"):
            return
    _act(alert, action, name, reason, assigned_to, until)


def _choose_end() -> datetime:
    """Draw the box of the day on which a mute ends, in a week by default."""
    zone = ZoneInfo(timezone.zone_name())
    day = st.date_input(f"Until ({zone})", value=datetime.now(zone).date() + timedelta(days=7))
    return datetime.combine(day, time(), tzinfo=zone)


def _act(
    alert: AlertRow, action: str, name: str, reason: str, assigned_to: str | None, until: datetime | None
) -> None:
    """Carry out the action and draw the page again, or show why it was refused."""
    try:
        with writing_store() as store:
            version = lifecycle.act(
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
    several.offer_undo([(alert.id, version)] if action == "acknowledge" else [], [], name)
    st.rerun()

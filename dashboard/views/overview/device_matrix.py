"""Every device in each precision and layout; the calm ones in one row that opens."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from kswatch.dashboard.components import links
from kswatch.dashboard.components.panels import note
from kswatch.dashboard.formatting.labels import count, literal
from kswatch.dashboard.night import device_markup
from kswatch.dashboard.night.devices import DeviceNight
from kswatch.dashboard.night.summary import Night
from kswatch.services import JudgementLimits


def show_devices(night: Night, limits: JudgementLimits, now: datetime) -> None:
    """Draw the devices where something changed, then the others folded, and what they are compared with."""
    calm = night.calm_devices(limits, now)
    for one in night.devices:
        if one not in calm:
            st.html(device_markup.matrix([one], limits, now))
            _link_to_alerts(one, night)
    if calm:
        _folded("calm", device_markup.calm_summary(calm), calm, limits, now)
    for against in dict.fromkeys(map(device_markup.against, night.devices)):
        note(against)
    if night.others:
        label = f"Also in this store: {count(len(night.others), 'device')}, imported or simulated"
        _folded("others", label, night.others, limits, now)


def _folded(
    key: str, label: str, devices: Sequence[DeviceNight], limits: JudgementLimits, now: datetime
) -> None:
    """Draw devices in an expander, whose content is sent when it is opened."""
    fold = st.expander(literal(label), on_change="rerun", key=f"devices_{key}")
    if fold.open:
        with fold:
            st.html(device_markup.matrix(devices, limits, now))


def _link_to_alerts(one: DeviceNight, night: Night) -> None:
    """Draw a link to the worst alert of this device."""
    own = [row.alert for row in night.alerts.live if row.alert.device_id == one.device.id]
    if own:
        label = count(len(own), "live alert")
        links.link("alerts", label, icon=":material/notifications_active:", alert=own[0].id)

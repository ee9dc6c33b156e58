"""Times in the browser's time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

UTC_NAME = "UTC"


def zone_name() -> str:
    """The browser's zone, as Europe/Paris; UTC where the browser sends none, or an unknown one."""
    name = st.context.timezone or UTC_NAME
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC_NAME
    return name


def local(moment: datetime) -> str:
    """The time to the minute in the viewer's zone, with the zone's short name."""
    return f"{moment.astimezone(ZoneInfo(zone_name())):%Y-%m-%d %H:%M %Z}"

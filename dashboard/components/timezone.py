"""Times as whoever looks lives them: in the browser's zone, with UTC beside or under them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

UTC_NAME = "UTC"


def zone_name() -> str:
    """The browser's zone, as Europe/Paris; UTC where it tells none, or one that is not known here."""
    told = st.context.timezone or UTC_NAME
    try:
        ZoneInfo(told)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC_NAME
    return told


def local(moment: datetime) -> str:
    """The time to the minute in the viewer's zone, with the zone's short name."""
    return f"{moment.astimezone(ZoneInfo(zone_name())):%Y-%m-%d %H:%M %Z}"

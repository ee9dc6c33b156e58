"""Overview: what the newest night found, its alerts, and every device against its level."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import links, timezone
from kswatch.dashboard.components.filters import show_empty_store
from kswatch.dashboard.components.panels import finding, hint, note, show_table
from kswatch.dashboard.data.queries import cached_until_change
from kswatch.dashboard.data.server_settings import judgement_limits
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import count
from kswatch.dashboard.night import markup
from kswatch.dashboard.night.missing import missing_sources
from kswatch.dashboard.night.summary import Night, facts_line, headline, read_night, rules_line
from kswatch.dashboard.views.overview.alert_rows import show_alerts
from kswatch.dashboard.views.overview.device_matrix import show_devices
from kswatch.db.queries import basic as queries
from kswatch.db.queries import page_queries

REFRESH_S = 10.0

_night = cached_until_change(read_night)


def show() -> None:
    """Draw the page, anew when a night arrives."""
    st.fragment(_refresh, run_every=REFRESH_S)(page_queries.stamp(reading_store()))
    night = _night()
    if night is None:
        show_empty_store()
        return
    now, limits = datetime.now(UTC), judgement_limits()
    st.html(f"<style>{markup.STYLE}</style>")
    finding(headline(night, ZoneInfo(timezone.zone_name())))
    st.html(markup.facts(facts_line(night, limits, now)))
    _next_command(night)
    show_alerts(night.alerts)
    show_devices(night, limits, now)
    _rules(night)
    _missing(night, now)


def _refresh(stamp: str) -> None:
    """Draw the page anew where the store has changed since it had this stamp."""
    if page_queries.stamp(reading_store()) != stamp:
        st.rerun()


def _next_command(night: Night) -> None:
    """Draw what to run where the night is not judged."""
    if night.series:
        return
    if night.is_measured:
        hint("`kswatch check` judges the newest run of each device against its history.")
    else:
        hint("`kswatch nightly` measures this machine, with or without a GPU, in a few minutes.")


def _rules(night: Night) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        note(rules_line(night))
        links.link("heuristics", "Heuristics", icon=":material/rule:")


def _missing(night: Night, now: datetime) -> None:
    """Draw the sources that stopped reporting, folded."""
    rows = missing_sources(night, queries.workers(reading_store()), judgement_limits(), now)
    if not rows:
        return
    fold = st.expander(f"{count(len(rows), 'source')} stopped reporting", on_change="rerun", key="missing")
    if fold.open:
        with fold:
            show_table(pd.DataFrame(rows))

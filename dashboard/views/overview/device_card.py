"""One device on the overview: its last run, its headlines over the nights, its machine, its alerts."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import links
from kswatch.dashboard.components import timezone as viewer
from kswatch.dashboard.components.panels import note, origin_badge, statuses
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.formatting.labels import WORDS, age, are_as_many, count, percent, ratio, share, utc
from kswatch.dashboard.formatting.markdown_escape import literal
from kswatch.dashboard.static_export.markup import sparkline_image

FEWEST_POINTS = 3
"""Of a line that is worth a look."""

CANARY_MOVED = 0.05
"""A canary further than this from its own median says that the machine, not the code, moved."""

NO_NEWS = 0.02
"""A median that moved by less is told in grey."""

SHORT_COMMIT = 9


def show_card(shown: DeviceRuns, about: tuple[str, str, str], among: tuple[int, ...]) -> None:
    """Draw one device.

    Args:
        shown: whose card.
        about: precision, layout and baselines of the headlines.
        among: ids of the runs of all cards, which are read at once.
    """
    moved, canaries = _canaries(shown, among)
    _title(shown, moved)
    _last_run(shown)
    with st.container(horizontal=True, gap="medium"):
        _headline(shown, "latency", "Median speedup", about, among)
        _headline(shown, "energy", "Median energy ratio", about, among)
    if canaries:
        note(f"Canaries, of their median: {canaries}")
    _environment(shown)
    failed = {status: number for status, number in shown.newest.by_status.items() if status != "ok"}
    if failed:
        statuses(failed)
    _alerts(shown.device.id)


def _title(shown: DeviceRuns, moved: bool | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(literal(shown.name), anchor=False, width="content")
        origin_badge(shown.source.origin)
        if shown.is_silent(datetime.now(UTC)):
            st.badge("silent", icon=":material/volume_off:", color="orange")
        if moved:
            st.badge("the machine moved", icon=":material/warning:", color="orange")
        elif moved is not None:
            st.badge("machine steady", icon=":material/check:", color="green")


def _last_run(shown: DeviceRuns) -> None:
    newest = shown.newest
    ended = newest.finished_at or newest.started_at
    when = f"{age(ended, datetime.now(UTC))} ({viewer.local(ended)}), {newest.state}"
    note(f"{shown.source.label} run {newest.id} of {newest.suite}, {when}", on_hover=utc(ended))
    if newest.revision:
        dirty = " (dirty)" if newest.revision.dirty else ""
        note(f"{newest.revision.commit[:SHORT_COMMIT]}{dirty} {newest.revision.subject or ''}")


def _headline(
    shown: DeviceRuns, metric: str, label: str, about: tuple[str, str, str], among: tuple[int, ...]
) -> None:
    """The newest median with its change since the run before, over a line of the last nights."""
    precision, layout, baselines = about
    every = cached_queries.medians(among, baselines, precision, layout)
    frame = every[every["run_id"].isin(shown.run_ids) & (every["metric"] == metric)]
    if frame.empty or frame["run_id"].iloc[-1] != shown.newest.id:
        told = f"No {metric} was compared in run {shown.newest.id} for {precision}, {layout}."
        st.metric(label, "–", help=literal(told))
        return
    medians, newest = frame["median_speedup"].tolist(), frame.iloc[-1]
    change, since = since_the_run_before(frame)
    with st.container(gap=None):
        st.metric(
            label,
            ratio(medians[-1]),
            delta=since,
            delta_color="normal" if change is not None and abs(change) >= NO_NEWS else "off",
            delta_arrow="off" if change is None else "auto",
            help=literal(
                f"{precision}, {WORDS.get(layout, layout)}: fused wins {newest['fused_wins']} of "
                f"{newest['problems']} problems; {newest['left_out']} left out. "
                f"Half of them lie between {ratio(newest['speedup_p25'])} and {ratio(newest['speedup_p75'])}."
                f" The line is the median of the last {len(medians)} runs."
            ),
        )
        if len(medians) >= FEWEST_POINTS:
            # an image: the lines of st.metric are drawn by a library of 1 MB, one after another
            st.html(sparkline_image(medians))


def since_the_run_before(frame: pd.DataFrame) -> tuple[float | None, str | None]:
    """The median's change (None where it is of other problems), and the words for it."""
    if len(frame) < 2:
        return None, None
    run_id, problems, medians = frame["run_id"].iloc[-2], frame["problems"], frame["median_speedup"]
    if not are_as_many(problems.iloc[-2], problems.iloc[-1]):
        return None, f"of {problems.iloc[-1]} problems, in run {run_id} of {problems.iloc[-2]}"
    change = medians.iloc[-1] / medians.iloc[-2] - 1
    return change, f"{percent(change)} since run {run_id}"


def _canaries(shown: DeviceRuns, among: tuple[int, ...]) -> tuple[bool | None, str]:
    """Whether the machine moved (None: not known), and each canary against its own median."""
    every = cached_queries.canary_rates(among)
    frame = every[every["run_id"].isin(shown.run_ids)]
    medians = frame.groupby("canary")["rate"].median()
    newest = frame[frame["run_id"] == shown.newest.id]
    shares: pd.Series = (newest.groupby("canary")["rate"].median() / medians).dropna()
    if shares.empty or len(shown.run_ids) < FEWEST_POINTS:
        return None, ""
    told = ", ".join(f"{canary} {share(part, 1)}" for canary, part in shares.items())
    return bool(((shares - 1).abs() > CANARY_MOVED).any()), told


def _environment(shown: DeviceRuns) -> None:
    if len(shown.runs) < 2 or shown.newest.environment_id == shown.runs[-2].environment_id:
        return
    before = shown.runs[-2].id
    changed = cached_queries.environment_changes(before, shown.newest.id)
    text = "; ".join(f"{change.name} {change.before} → {change.after}" for change in changed)
    st.warning(literal(f"Environment changed since run {before}: {text}"), icon=":material/swap_horiz:")


def _alerts(device_id: int) -> None:
    known = cached_queries.alerts(states=("open", "acknowledged", "recovering"))
    live = [alert for alert in known if alert.device_id == device_id]
    waiting = [alert for alert in live if alert.state == "open"]
    if not live:
        note("No alert is open.")
        return
    label = count(len(waiting), "open alert")
    if len(live) > len(waiting):
        label += f", {len(live) - len(waiting)} acknowledged or recovering"
    links.link("alerts", label, icon=":material/notifications_active:")

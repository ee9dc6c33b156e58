"""The card of one device on the overview: last run, medians over the nights, canaries, alerts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import links, speed_of_light, timezone
from kswatch.dashboard.components.filters import ProblemFilters
from kswatch.dashboard.components.panels import note, origin_badge, status_badges
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.baseline_history import runs_since_change, set_or_all
from kswatch.dashboard.data.canary_shares import canary_shares
from kswatch.dashboard.data.device_runs import DeviceRuns
from kswatch.dashboard.data.server_settings import judgement_limits
from kswatch.dashboard.formatting.labels import (
    AGAINST,
    WORDS,
    age,
    are_comparable,
    change_list,
    count,
    literal,
    percent,
    ratio,
    revision_label,
    utc,
)
from kswatch.dashboard.static_export.markup import FEWEST_POINTS, sparkline_image
from kswatch.db.queries.baseline_sets import RunSets
from kswatch.db.records import EXPERT

SMALL_CHANGE = 0.02
"""A smaller change of the median is shown in grey."""


def show_card(shown: DeviceRuns, about: ProblemFilters, among: tuple[int, ...]) -> None:
    """Draw one device.

    Args:
        shown: the device and its runs.
        about: precision, layout and baselines of the headlines.
        among: ids of the runs of all cards, read together.
    """
    moved, canaries = _canaries(shown, among)
    _title(shown, moved)
    _last_run(shown)
    sets = cached_queries.run_sets(among)
    baselines = set_or_all(sets, shown.newest.id, about["baselines"])
    about = ProblemFilters(precision=about["precision"], layout=about["layout"], baselines=baselines)
    with st.container(horizontal=True, gap="medium"):
        _median_metric(shown, "latency", "Median speedup", about, among)
        _median_metric(shown, "energy", "Median energy ratio", about, among)
        speed_of_light.show_metric(shown, about, among)
    note(_against(sets, shown.newest.id, about))
    speed_of_light.explain_over_one(shown, about, among)
    if canaries:
        note(f"Canary rates against the median of earlier nights: {canaries}")
    _environment(shown)
    failed = {status: number for status, number in shown.newest.by_status.items() if status != "ok"}
    if failed:
        status_badges(failed)
    _alerts(shown.device.id)


def _title(shown: DeviceRuns, moved: bool | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(literal(shown.name), anchor=False, width="content")
        origin_badge(shown.source.origin)
        if shown.is_overdue(judgement_limits(), datetime.now(UTC)):
            st.badge("not reporting", icon=":material/volume_off:", color="orange")
        if moved:
            st.badge("machine drifted", icon=":material/warning:", color="orange")
        elif moved is not None:
            st.badge("machine stable", icon=":material/check:", color="green")


def _last_run(shown: DeviceRuns) -> None:
    newest = shown.newest
    ended = newest.finished_at or newest.started_at
    when = f"{age(ended, datetime.now(UTC))} ({timezone.local(ended)}), {newest.state}"
    note(f"{shown.source.label} run {newest.id} of {newest.suite}, {when}", on_hover=utc(ended))
    if newest.revision:
        note(revision_label(newest.revision) or "")


def _median_metric(
    shown: DeviceRuns, metric: str, label: str, about: ProblemFilters, among: tuple[int, ...]
) -> None:
    """Draw the newest median with its change since the run before, above a sparkline of the last nights."""
    precision, layout = about["precision"], about["layout"]
    every = cached_queries.medians(among, **about)
    comparable = runs_since_change(cached_queries.run_sets(among), shown.run_ids, about["baselines"])
    frame = every[every["run_id"].isin(comparable) & (every["metric"] == metric)]
    if frame.empty or frame["run_id"].iloc[-1] != shown.newest.id:
        reason = f"Run {shown.newest.id} compares no {metric} for {precision}, {layout}."
        st.metric(label, "–", help=literal(reason))
        return
    medians, newest = frame["median_speedup"].tolist(), frame.iloc[-1]
    change, since = change_since_last_run(frame)
    with st.container(gap=None):
        st.metric(
            label,
            ratio(medians[-1]),
            delta=since,
            delta_color="normal" if change is not None and abs(change) >= SMALL_CHANGE else "off",
            delta_arrow="off" if change is None else "auto",
            help=literal(
                f"{precision}, {WORDS.get(layout, layout)}: fused wins {newest['fused_wins']} of "
                f"{newest['problems']} problems; {newest['left_out']} left out. "
                f"IQR {ratio(newest['speedup_p25'])} to {ratio(newest['speedup_p75'])}."
                f" The line shows the medians of the last {len(medians)} runs."
            ),
        )
        if len(medians) >= FEWEST_POINTS:
            # an image: st.metric would draw each line with a library of 1 MB
            st.html(sparkline_image(medians))


def _against(sets: Mapping[int, RunSets], run_id: int, about: ProblemFilters) -> str:
    """The baselines of the card's headline, and which rivals were there."""
    against, own = AGAINST[about["baselines"]], sets.get(run_id, RunSets())
    return f"Against {against}; {own.in_words if about['baselines'] == EXPERT else 'without rivals'}."


def change_since_last_run(frame: pd.DataFrame) -> tuple[float | None, str | None]:
    """The change of the median (None where the problems differ), and its text."""
    if len(frame) < 2:
        return None, None
    run_id, problems, medians = frame["run_id"].iloc[-2], frame["problems"], frame["median_speedup"]
    if not are_comparable(problems.iloc[-2], problems.iloc[-1]):
        return None, f"{problems.iloc[-1]} problems, {problems.iloc[-2]} in run {run_id}"
    change = medians.iloc[-1] / medians.iloc[-2] - 1
    return change, f"{percent(change)} since run {run_id}"


def _canaries(shown: DeviceRuns, among: tuple[int, ...]) -> tuple[bool | None, str]:
    """Whether the machine moved (None: unknown), and each canary as a share of its earlier median."""
    every = cached_queries.canary_rates(among)
    own = every[every["run_id"].isin(shown.run_ids)]
    readings = zip(own["run_id"], own["canary"], own["rate"], strict=True)
    shares = canary_shares(readings, shown.newest.id)
    if not shares:
        return None, ""
    moved = judgement_limits().has_machine_moved(one.median for one in shares)
    return moved, ", ".join(one.text for one in shares)


def _environment(shown: DeviceRuns) -> None:
    if len(shown.runs) < 2 or shown.newest.environment_id == shown.runs[-2].environment_id:
        return
    before = shown.runs[-2].id
    changed = cached_queries.environment_changes(before, shown.newest.id)
    st.warning(
        literal(f"Environment changed since run {before}: {change_list(changed)}"),
        icon=":material/swap_horiz:",
    )


def _alerts(device_id: int) -> None:
    known = cached_queries.alerts(states=("open", "acknowledged", "recovering"))
    live = [alert for alert in known if alert.device_id == device_id]
    waiting = [alert for alert in live if alert.state == "open"]
    if not live:
        note("No open alerts.")
        return
    label = count(len(waiting), "open alert")
    if len(live) > len(waiting):
        label += f", {len(live) - len(waiting)} acknowledged or recovering"
    first = (waiting or live)[0]
    links.link("alerts", label, icon=":material/notifications_active:", alert=first.id, state="live")

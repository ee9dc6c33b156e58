"""Overview: what changed last night, on which device, and whether the machines are well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import streamlit as st

from dashboard import cached_queries, links, url_state
from dashboard.app_pages import changes
from dashboard.filters import BOX_WIDTH, SOURCES, Source, ended_runs, tell_empty_store
from dashboard.naming import WORDS, age, count, device_names, percent, ratio, share, utc
from dashboard.panels import finding, hint, note, origin_badge, statuses
from dashboard.plain_text import literal
from db.page_queries import RunGroup
from db.queries import DeviceRow, RunRow
from db.records import BASELINE_SETS

SILENT_AFTER = timedelta(hours=36)
"""A device without a nightly run for longer than this is told as silent."""

SPARKLINE_NIGHTS = 90
FEWEST_POINTS = 3
"""Of a line that is worth a look."""

CANARY_MOVED = 0.05
"""A canary further than this from its own median says that the machine, not the code, moved."""


def show() -> None:
    """Draw the page."""
    groups = cached_queries.run_groups()
    if not groups:
        tell_empty_store()
        return
    devices = _with_runs(groups)
    here = [pair for pair in devices if pair[1].origin == "measured"]
    elsewhere = [pair for pair in devices if pair[1].origin != "measured"]
    newest = [(device, _runs(device, source, groups)) for device, source in here or elsewhere]
    shown = [runs[-1] for _, runs in newest]
    if here or changes.are_judged(shown):
        finding(changes.headline(shown))
    else:
        finding("Nothing was measured here yet; what is shown came from elsewhere")
        hint("`kswatch nightly` measures this machine, GPU or not, in a few minutes.")
    precision, layout, baselines = _choose_headline([device.id for device, _ in newest])
    _cards(here or elsewhere, groups, (precision, layout, baselines))
    if here or changes.are_judged(shown):
        changes.show_changes(shown)
    if here and elsewhere:
        with st.expander(f"Also in this store: {count(len(elsewhere), 'device')}, imported or simulated"):
            _cards(elsewhere, groups, (precision, layout, baselines))


def _with_runs(groups: list[RunGroup]) -> list[tuple[DeviceRow, Source]]:
    """Devices that have ended runs, each with the most preferred source of them."""
    found = []
    for device in cached_queries.devices():
        own = [group for group in groups if group.device_id == device.id]
        source = next((one for one in SOURCES if any(one.holds(group) for group in own)), None)
        if source:
            found.append((device, source))
    return found


def _runs(device: DeviceRow, source: Source, groups: list[RunGroup]) -> tuple[RunRow, ...]:
    """The last nights of the suite that was run last."""
    own = [group for group in groups if group.device_id == device.id and source.holds(group)]
    suite = max(own, key=lambda group: group.newest_run_id).suite
    return ended_runs(device.id, source, suite, SPARKLINE_NIGHTS)


def _choose_headline(device_ids: list[int]) -> tuple[str, str, str]:
    """Draw the boxes that say what the headlines are about."""
    frames = [
        cached_queries.summaries(device_id, metric, "all")
        for device_id in device_ids
        for metric in ("latency", "energy")
    ]
    frame = pd.concat(frames)
    precisions = sorted(frame["precision"].unique(), key=lambda name: (name != "fp32", name)) or ["fp32"]
    layouts = sorted(frame["layout"].unique()) or ["batch_first"]
    with st.container(horizontal=True, gap="small"):
        precision = url_state.select("Precision", "precision", precisions, width=BOX_WIDTH)
        layout = url_state.select(
            "Layout", "layout", layouts, show=lambda name: WORDS.get(name, name), width=BOX_WIDTH
        )
        baselines = url_state.select(
            "Baselines",
            "baselines",
            list(BASELINE_SETS),
            "all",
            lambda name: "all seven" if name == "all" else "the paper’s five",
            width=BOX_WIDTH,
        )
    return precision, layout, baselines


def _cards(
    devices: list[tuple[DeviceRow, Source]], groups: list[RunGroup], about: tuple[str, str, str]
) -> None:
    names = device_names([device for device, _ in devices])
    columns = st.columns(2) if len(devices) > 1 else [st.container()]
    for index, (device, source) in enumerate(devices):
        with columns[index % len(columns)], st.container(border=True):
            _card(device, names[device.id], source, _runs(device, source, groups), about)


def _card(
    device: DeviceRow, name: str, source: Source, runs: tuple[RunRow, ...], about: tuple[str, str, str]
) -> None:
    newest = runs[-1]
    now = datetime.now(UTC)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(literal(name), anchor=False, width="content")
        origin_badge(source.origin)
        if source.name == "nightly" and now - newest.started_at > SILENT_AFTER:
            st.badge("silent", icon=":material/volume_off:", color="orange")
    ended = newest.finished_at or newest.started_at
    note(
        f"{source.label} run {newest.id} of {newest.suite}, {age(ended, now)} ({utc(ended)}), {newest.state}"
    )
    with st.container(horizontal=True, gap="medium"):
        _headline(device.id, runs, "latency", "Median speedup", about)
        _headline(device.id, runs, "energy", "Median energy ratio", about)
    statuses(newest.by_status)
    _machine(device.id, runs)
    _alerts(device.id)


def _headline(
    device_id: int, runs: tuple[RunRow, ...], metric: str, label: str, about: tuple[str, str, str]
) -> None:
    """The newest median with its change since the run before, over a line of the last nights."""
    precision, layout, baselines = about
    frame = cached_queries.summaries(device_id, metric, baselines)
    wanted = (frame["precision"] == precision) & (frame["layout"] == layout)
    frame = frame[wanted & frame["run_id"].isin([run.id for run in runs])].dropna(subset=["median_speedup"])
    if frame.empty or frame["run_id"].iloc[-1] != runs[-1].id:
        told = f"No {metric} was compared in run {runs[-1].id} for {precision}, {layout}."
        st.metric(label, "–", help=literal(told))
        return
    medians = frame["median_speedup"].tolist()
    newest = frame.iloc[-1]
    st.metric(
        label,
        ratio(medians[-1]),
        delta=f"{percent(medians[-1] / medians[-2] - 1)} since the run before" if len(medians) > 1 else None,
        help=literal(
            f"{precision}, {WORDS.get(layout, layout)}: fused wins {newest['fused_wins']} of "
            f"{newest['problems']} problems; {newest['left_out']} left out."
        ),
        chart_data=medians if len(medians) >= FEWEST_POINTS else None,
    )


def _machine(device_id: int, runs: tuple[RunRow, ...]) -> None:
    """Canaries against their own median, and what changed in the environment."""
    frame = cached_queries.canaries(device_id)
    frame = frame[frame["run_id"].isin([run.id for run in runs])]
    medians = frame.groupby("canary")["rate"].median()
    now = frame[frame["run_id"] == runs[-1].id].groupby("canary")["rate"].median() / medians
    shares = now.dropna()
    if len(shares):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if ((shares - 1).abs() > CANARY_MOVED).any():
                st.badge("the machine moved", icon=":material/warning:", color="orange")
            told = ", ".join(f"{canary} {share(part, 1)}" for canary, part in shares.items())
            note(f"Canaries, of their median: {told}")
    if len(runs) > 1 and runs[-1].environment_id != runs[-2].environment_id:
        changed = cached_queries.environment_changes(runs[-2].id, runs[-1].id)
        text = "; ".join(f"{change.name} {change.before} → {change.after}" for change in changed)
        st.warning(
            literal(f"Environment changed since run {runs[-2].id}: {text}"), icon=":material/swap_horiz:"
        )


def _alerts(device_id: int) -> None:
    live = cached_queries.alerts(states=("open", "acknowledged", "recovering"), device_id=device_id)
    waiting = [alert for alert in live if alert.state == "open"]
    if not live:
        note("No alert is open.")
        return
    label = f"{count(len(waiting), 'open alert')}, {len(live) - len(waiting)} acknowledged or recovering"
    links.link("alerts", label, icon=":material/notifications_active:")

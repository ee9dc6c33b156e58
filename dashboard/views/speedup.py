"""Speedup: fused against the best baseline over the problems, and over the nights."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts import distribution, heat_map, roofline
from kswatch.dashboard.charts import pattern_shape as shape
from kswatch.dashboard.components import links, speed_of_light, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, Scope, choose_scope
from kswatch.dashboard.components.median_trend import show_median_trend
from kswatch.dashboard.components.panels import TITLES, chart, choose_row, finding, note, show_reasons
from kswatch.dashboard.components.sections import show_section
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data import rates
from kswatch.dashboard.formatting.labels import count, device_names, problem_labels, ratio, share
from kswatch.db.records import EXPERT

SPEEDUP = "speedup over the best baseline (×)"
GROUPS: dict[str, str | None] = {
    "nothing": None,
    "family": "family",
    "precision": "precision",
    "layout": "layout",
    "device": "device",
}
ACROSS = ("precision", "layout")
"""Splits that show more of the run than the filters select."""

TABLE_HEIGHT = 560
HEAT_MAPS = {"change": "change of fused against its level", "speedup": "speedup"}

ROOF_TOLERANCE = 1.1
"""Rates further above the roof mean that the canaries do not measure the machine's limits."""

COLUMNS = (
    *("pattern", "speedup", "speedup_low", "speedup_high", "best_baseline"),
    *("batch", "family", "left_out"),
)


def show() -> None:
    """Draw the page."""
    scope = choose_scope()
    if scope is None:
        return
    here = cached_queries.run_comparisons(scope.newest.id, **scope.about)
    if here["speedup"].notna().sum() == 0:
        _show_empty(scope, here)
        return
    _headline(scope, here)
    if len(scope.runs) > 1:
        show_median_trend(scope, "latency", "speedup")
    else:
        note("The trend by night starts with the second run.")
    show_section(_distribution, scope, here)
    speed_of_light.show_trend(scope)
    show_section(_shape, scope, here)
    _roofline(scope)
    show_section(_by_night, scope, here)


def _show_empty(scope: Scope, here: pd.DataFrame) -> None:
    if here["left_out"].isna().all():
        finding(f"Run {scope.newest.id} compares no latencies for {scope.precision}, {scope.layout}")
        links.link("energy", "Show its energy", icon=":material/bolt:")
        return
    finding(f"No speedup for run {scope.newest.id}: every problem was left out")
    note("A problem with a crashed or missing baseline is left out: without it, fused would look better.")
    show_reasons(here["left_out"], "problems")


def _headline(scope: Scope, here: pd.DataFrame) -> None:
    known = here["speedup"].dropna()
    wins = int((known > 1).sum())
    clear = int((here["speedup_low"] > 1).sum())
    significant = f" ({clear} significantly)" if here["speedup_low"].notna().any() and clear < wins else ""
    finding(
        f"Fused is faster on {wins} of {len(known)} problems{significant}; "
        f"median speedup {ratio(known.median())}"
    )
    left_out = len(here) - len(known)
    note(
        f"Run {scope.newest.id}: {scope.title}."
        + (f" {count(left_out, 'problem')} left out." if left_out else "")
    )
    if scope.baselines == EXPERT:
        rivals = cached_queries.run_sets((scope.newest.id,))[scope.newest.id].in_words
        note(f"{rivals[0].upper()}{rivals[1:]}.")


def _distribution(scope: Scope, here: pd.DataFrame) -> None:
    """Draw the problems sorted by their speedup, and their distribution, which may be split."""
    known = here["speedup"].dropna()
    finding(f"Each problem: {ratio(known.min())} to {ratio(known.max())}")
    by = url_state.select(
        "Split by",
        "split",
        list(GROUPS),
        show=lambda name: "none" if name == "nothing" else name,
        width=BOX_WIDTH,
    )
    column = GROUPS[by]
    frame = here
    if column == "device":
        frame = _of_devices(scope)
    elif column in ACROSS:
        frame = cached_queries.run_comparisons(scope.newest.id, baselines=scope.baselines)
    frame = frame.assign(problem=problem_labels(frame)).reset_index(drop=True)
    own = here.assign(problem=problem_labels(here)).reset_index(drop=True)
    left, right = st.columns(2)
    with left:
        chart(
            distribution.sorted_ratios(own, SPEEDUP),
            own[["problem", "speedup", "speedup_low", "speedup_high", "best_baseline"]],
            "speedup_sorted",
            f"Speedup of each problem with its interval, sorted; the median is {known.median():.2f}.",
            on_open=partial(_open_problem, own, scope),
        )
    with right:
        chart(
            distribution.ecdf(frame, SPEEDUP, column),
            frame[["problem", *filter(None, [column]), "speedup", "speedup_low", "speedup_high"]],
            "speedup_ecdf",
            f"Share of problems by speedup; the median is {known.median():.2f}.",
            on_open=partial(_open_problem, frame, scope),
        )


def _of_devices(scope: Scope) -> pd.DataFrame:
    """The newest comparisons of every device with runs of this source, of the same suite if any."""
    groups = [group for group in cached_queries.run_groups() if scope.source.holds(group)]
    names = device_names(cached_queries.devices())
    frames = []
    for device_id in dict.fromkeys(group.device_id for group in groups):
        own = [group for group in groups if group.device_id == device_id]
        newest = max(own, key=lambda group: (group.suite == scope.suite, group.newest_run_id))
        frame = cached_queries.run_comparisons(newest.newest_run_id, **scope.about)
        frames.append(frame.assign(device=names[device_id]))
    return pd.concat(frames, ignore_index=True)


def _open_problem(frame: pd.DataFrame, scope: Scope, label: str) -> None:
    """Switch to the pattern page of a point, on the point's device."""
    device_id = frame.loc[int(label), "device_id"] if "device_id" in frame else scope.device.id
    device = next(device for device in cached_queries.devices() if device.id == device_id)
    links.open_problem(frame, label, device=device.uuid)


def _shape(scope: Scope, here: pd.DataFrame) -> None:
    finding("Speedup by pattern shape")
    by = url_state.select(
        "Against", "against", list(shape.SHAPE_TITLES), "h", lambda name: shape.SHAPE_TITLES[name], width=360
    )
    frame = here.assign(problem=problem_labels(here)).reset_index(drop=True)
    chart(
        shape.ratio_by_shape(frame, by, SPEEDUP),
        frame[["problem", "family", "h", "d", "dh", "bc", "speedup", "speedup_low", "speedup_high"]],
        "speedup_shape",
        f"Speedup of each problem against {shape.SHAPE_TITLES[by]}.",
        on_open=partial(_open_problem, frame, scope),
    )


def _roofline(scope: Scope) -> None:
    frame = rates.of_run(scope.newest.id, scope.precision, scope.layout)
    if frame.empty:
        return
    bytes_per_s, flops_per_s = rates.ceilings(scope.newest.id, scope.precision)
    reached = frame["gflops"] / roofline.ceiling_gflops(frame["intensity"], bytes_per_s, flops_per_s)
    fused = reached[frame["implementation"] == "fused"].max()
    if reached.max() > ROOF_TOLERANCE:
        finding(f"The measured roof is too low: cells reach up to {share(reached.max())} of it")
        note(
            "The roof is measured by the canaries: the machine was busy when they ran, "
            "or cells had operands in cache."
        )
    elif fused == fused:
        fastest = frame.loc[frame["implementation"] == "fused", "gflops"].max() / 1e3
        finding(
            f"Fused reaches up to {fastest:,.3g} TFLOP/s, and up to {share(fused)} of the roof "
            "measured by the canaries of this run"
        )
    else:
        finding("Rate of every implementation; this run has no canaries to measure the roof")
    roof = [
        f"copy {bytes_per_s / 1e9:,.0f} GB/s" if bytes_per_s else "",
        f"arithmetic {flops_per_s / 1e12:,.3g} TFLOP/s" if flops_per_s else "",
    ]
    if any(roof):
        note(f"Roof: {' and '.join(filter(None, roof))}, the best of this run's canaries, as for its floors.")
    chart(
        roofline.roofline(frame, bytes_per_s, flops_per_s),
        frame[["problem", "implementation", "intensity", "gflops", "gflops_low", "gflops_high"]],
        "roofline",
        "Rate of every cell against its flops per byte, under the measured roof.",
        on_open=partial(_open_problem, frame, scope),
    )


def _by_night(scope: Scope, here: pd.DataFrame) -> None:
    """Draw the heat map, which has no clickable points, and the table of the same problems."""
    if len(scope.runs) < 2:
        _table(scope, here)
        return
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _heat_map(scope, here)
    with right:
        _table(scope, here)


def _heat_map(scope: Scope, here: pd.DataFrame) -> None:
    labels = problem_labels(here).set_axis(here["problem_id"])
    started = {run.id: run.started_at for run in scope.runs}
    run_ids = scope.run_ids[-heat_map.MOST_NIGHTS :]
    changes = cached_queries.fused_changes(run_ids, "latency_ms", tuple(labels.index))
    shown = "speedup"
    if changes.empty:
        finding("Speedup of every pattern on every night")
    else:
        finding("Every pattern on every night")
        shown = url_state.segments("Nights as", "heat", HEAT_MAPS)
    if len(here) > heat_map.MOST_ROWS:
        note(f"The {heat_map.MOST_ROWS} of {len(here)} patterns that differ most.")
    if shown == "change":
        frame = changes.assign(change=-changes["change"])  # shorter is better
        draw, columns = heat_map.change_by_night, ["change"]
        label = "faster than its level by"
    else:
        frame = cached_queries.ratios(run_ids, "latency", scope.baselines, tuple(labels.index))
        draw, columns = heat_map.pattern_by_night, ["speedup", "best_baseline", "left_out"]
        label = "speedup"
    frame = frame.assign(problem=frame["problem_id"].map(labels), started_at=frame["run_id"].map(started))
    chart(
        draw(frame, label),
        frame[["run_id", "started_at", "problem", *columns]],
        f"{shown}_by_night",
        f"{HEAT_MAPS[shown].capitalize()} of every pattern on every night as colours.",
    )


def _table(scope: Scope, here: pd.DataFrame) -> None:
    """Draw the problems of the newest run, the fastest first; choosing a row opens its pattern."""
    finding(f"Problems of run {scope.newest.id}")
    ordered = here.sort_values("speedup", ascending=False).reset_index(drop=True)
    held = [name for name in COLUMNS if ordered[name].notna().any()]
    table = ordered[held].rename(columns=TITLES)
    place = choose_row(table, "problems", "to open its pattern", TABLE_HEIGHT)
    if place is not None:
        links.open_problem(ordered, str(place), device=scope.device.uuid)

"""Models: end-to-end latency of each variant against dense, split into structure and kernel, by night."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts.structures.model_gains import gains_by_night, variants_over_dense
from kswatch.dashboard.components import downloads, links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH
from kswatch.dashboard.components.panels import (
    chart,
    choose_row,
    empty_state,
    finding,
    note,
    origin_badge,
    show_reasons,
    show_table,
)
from kswatch.dashboard.components.structured_scope import ORIGINS
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import count, device_names, ratio, share
from kswatch.db.model_results.splits import Gain
from kswatch.db.model_results.summary import ModelSummary, SplitSummary
from kswatch.db.records import ALL, BASELINE_SETS, EXPERT, ProblemKey

ModelRow = tuple[ModelSummary, SplitSummary]
"""A model at one batch and precision on one device, with one structure."""

VARIANTS = {
    "variant": "variant",
    "status": "status",
    "latency_ms": "latency (ms)",
    "latency_low_ms": "low (ms)",
    "latency_high_ms": "high (ms)",
    "over_dense": "of dense",
    "energy_mj": "energy (mJ)",
    "memory_mb": "peak memory (MB)",
    "parameters": "parameters",
    "relative_error": "relative error",
    "linear_share": "in linear layers",
    "compile_ms": "compile (ms)",
    "mean_ms": "published mean (ms)",
}
MOST_NIGHTS = 365


def show() -> None:
    """Draw the page."""
    runs = cached_queries.runs_of_models()
    if not runs:
        empty_state(
            "No model has been measured yet.",
            ["kswatch", "profile", "models", "--device", "cpu"],
            "ViT-S/16 and GPT-2 medium with random weights, dense and with Kronecker-sparse layers.",
        )
        return
    with st.container(horizontal=True, gap="small"):
        sets = [name for name in BASELINE_SETS if name != EXPERT]  # its members compute single products
        baselines = url_state.select("Baselines", "baselines", sets, ALL, width=BOX_WIDTH)
    rows = _rows({run.device_id for run in runs}, baselines)
    names = device_names(cached_queries.devices())
    by_uuid = {device.uuid: names[device.id] for device in cached_queries.devices()}
    best = _best(rows)
    _headline(best, by_uuid)
    note(
        "A model's gain is that of its structure (dense over the structure by the one baseline that is "
        "fastest for the whole model) times that of the kernel (this over fused), of the same rounds."
    )
    table = pd.DataFrame([_cells(*row, by_uuid) for row in rows])
    shown = table.drop(columns=[name for name in table if table[name].isna().all()])
    place = choose_row(shown, "models", "for its variants and nights", 400)
    if place is not None:
        for name, value in _address(*rows[place]).items():
            url_state.remember(name, value)
    is_linked = url_state.requested("model") is not None
    chosen = next((row for row in rows if _is_requested(*row)), None) if is_linked else best
    chosen = chosen or best or rows[0]
    _show_one(*chosen, by_uuid, baselines)


def _rows(device_ids: set[int], baselines: str) -> list[ModelRow]:
    """Each model in its newest run on each device by each structure, measured ones first."""
    devices = [one for one in cached_queries.devices() if one.id in device_ids]
    found = [
        one for device in devices for one in cached_queries.model_summary(device.uuid, baselines=baselines)
    ]
    ordered = sorted(found, key=lambda one: (ORIGINS.index(one.origin), one.model, one.precision, one.batch))
    return [(one, split) for one in ordered for split in one.splits]


def _best(rows: list[ModelRow]) -> ModelRow | None:
    """The row with the largest gain among those of the most preferred origin."""
    known = [row for row in rows if row[1].total_gain]
    of_first = [row for row in known if row[0].origin == known[0][0].origin]
    return max(of_first, key=lambda row: row[1].total_gain or 0.0, default=None)


def _headline(best: ModelRow | None, names: dict[str, str]) -> None:
    if best is None:
        finding("No model has both a dense variant and one by fused")
        return
    one, split = best
    about = f"{one.execution}, batch {one.batch:,}, {one.precision}"
    finding(f"{one.model} ({about}) on {names[one.device]}: {_product(split)}")


def _product(split: SplitSummary) -> str:
    parts = f"structure {ratio(split.structure_gain)} · kernel {ratio(split.kernel_gain)}"
    return f"{ratio(split.total_gain)} = {parts}"


def _cells(one: ModelSummary, split: SplitSummary, names: dict[str, str]) -> dict[str, object]:
    by_name = {variant.variant: variant for variant in one.variants}
    dense, fused = by_name.get(split.dense or ""), by_name.get(f"{split.structure}/fused")
    return {
        "model": one.model,
        "device": names[one.device],
        "precision": one.precision,
        "batch": one.batch,
        "execution": one.execution,
        "structure": split.structure,
        "dense (ms)": dense and dense.latency_ms,
        "fused (ms)": fused and fused.latency_ms,
        "gain (×)": split.total_gain,
        "structure (×)": split.structure_gain,
        "kernel (×)": split.kernel_gain,
        "best baseline": split.baseline,
        "over published (×)": split.over_published,
        "in linear layers (%)": split.linear_share and 100 * split.linear_share,
        "dense (mJ)": dense and dense.energy_mj,
        "fused (mJ)": fused and fused.energy_mj,
        "no split because": split.left_out,
        "data": one.origin,
        "run": one.run,
    }


def _address(one: ModelSummary, split: SplitSummary) -> dict[str, str]:
    return {
        "model": f"{one.model} {one.execution}",
        "device": one.device,
        "precision": one.precision,
        "batch": str(one.batch),
        "structure": split.structure,
    }


def _is_requested(one: ModelSummary, split: SplitSummary) -> bool:
    """Whether the URL means this row; what it leaves open is any."""
    return all(url_state.requested(name) in (None, value) for name, value in _address(one, split).items())


def _show_one(one: ModelSummary, split: SplitSummary, names: dict[str, str], baselines: str) -> None:
    finding(f"{one.model}, {one.execution}, batch {one.batch:,}, {one.precision}: {split.structure}")
    origin_badge(one.origin)
    about = _address(one, split) | {"device": names[one.device], "run": str(one.run)}
    downloads.set_subject(**about)
    note(_split_text(split))
    variants = pd.DataFrame([vars(variant) for variant in one.variants])
    own = variants["variant"].str.startswith(("dense/", f"{split.structure}/"))
    variants = variants[own].reset_index(drop=True)
    timed = variants.dropna(subset=["over_dense"])
    if len(timed):
        timed = timed.assign(computed_by=timed["variant"].str.rpartition("/")[2])
        chart(
            variants_over_dense(timed[["variant", "computed_by", "over_dense", "latency_ms"]]),
            timed.assign(problem=timed["variant"]),
            "model_variants",
            "The latency of each variant as a share of the dense one's.",
        )
    in_mb = variants.assign(memory_mb=variants["memory_peak_bytes"] / 1e6)
    held = [name for name in VARIANTS if in_mb[name].notna().any()]
    show_table(in_mb[held].rename(columns=VARIANTS))
    without = variants[variants["latency_ms"].isna()]
    if len(without):
        with st.expander(f"{count(len(without), 'variant')} without a time"):
            words = (
                without["status"].str.replace("_", " ") + ": " + without["reason"].fillna("no reason stored")
            )
            show_reasons(words, "variants")
    _nights(one, split, baselines)


def _split_text(split: SplitSummary) -> str:
    if split.left_out:
        return f"No split: {split.left_out}."
    linear = (
        f" {share(split.linear_share)} of the dense model's time is in linear layers."
        if split.linear_share
        else ""
    )
    published = f" {ratio(split.over_published)} against dense as published." if split.over_published else ""
    return (
        f"{_product(split)}. Dense is {split.dense}; {split.baseline} is the fastest of {split.baselines} "
        f"({', '.join(split.members)}).{published}{linear}"
    )


def _nights(one: ModelSummary, split: SplitSummary, baselines: str) -> None:
    device = next(device for device in cached_queries.devices() if device.uuid == one.device)
    key = ProblemKey(
        1, 1, one.tokens, 1, one.batch, one.precision, one.layout, f"{one.model} {one.execution}"
    )
    points = cached_queries.model_nights(device.id, key, split.structure, baselines)[-MOST_NIGHTS:]
    rows, piece = [], 0
    for point in points:
        piece += point.begins_series
        if point.split.total_gain:
            gains = {
                name: _value(getattr(point.split, name))
                for name in ("total_gain", "structure_gain", "kernel_gain")
            }
            rows.append({"run_id": point.run_id, "started_at": point.started_at, "piece": piece, **gains})
    if len(rows) < 2:
        note("The trend starts with the second night that measures this model.")
        return
    frame = pd.DataFrame(rows)
    first, last = frame["total_gain"].iloc[0], frame["total_gain"].iloc[-1]
    finding(f"Gain over {count(len(frame), 'night')}: {ratio(first)} to {ratio(last)}")
    chart(
        gains_by_night(frame),
        frame,
        "model_gains",
        "Total gain by night, and its parts: structure and kernel.",
        on_open=links.open_run,
    )


def _value(gain: Gain | None) -> float | None:
    return gain.value if gain else None

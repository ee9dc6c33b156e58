"""Which one?: the families and implementations for a layer, ranked, and a request to measure them."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import url_state
from kswatch.dashboard.components.filters import BOX_WIDTH, show_empty_store
from kswatch.dashboard.components.panels import (
    finding,
    note,
    origin_badge,
    show_reasons,
    show_table,
)
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.layer_ranking import layer_ranking
from kswatch.dashboard.formatting.labels import WORDS, count, device_names, ratio
from kswatch.dashboard.views.requests.measure_here import show_measurement
from kswatch.db.decoding import whole_number
from kswatch.db.queries.basic import DeviceRow
from kswatch.db.records import LAYOUTS, PRECISIONS
from kswatch.errors import UsageError
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.layer_heuristics.ranking import LayerRanking, RankedCell

DEFAULTS = {"in": 1024, "out": 4096, "batch": 196}
LABELS = {"in": "Inputs", "out": "Outputs", "batch": "Batch (rows)"}
MOST = 2**20


def show() -> None:
    """Draw the page."""
    devices = cached_queries.devices()
    if not devices:
        show_empty_store()
        return
    names = device_names(devices)
    shape, device = _choose(devices, names)
    ranking = layer_ranking(shape, device, names[device.id])
    origin_badge("simulated" if device.simulated else "measured")
    _headline(ranking)
    note(
        f"{names[device.id]}, {ranking.in_features:,} inputs to {ranking.out_features:,} outputs, "
        f"batch {ranking.batch:,}, {ranking.precision}, {WORDS.get(ranking.layout, ranking.layout)}. "
        + " ".join(f"{text[:1].upper()}{text[1:]}." for text in _notes(ranking))
    )
    _table(ranking)
    _reasons(ranking)
    _measure(shape, device)


def _notes(ranking: LayerRanking) -> tuple[str, ...]:
    """The notes of the ranking; where the layer was measured, without where predictions come from."""
    is_measured = any(one.latency_source == "measured" for one in ranking.cells)
    return ranking.notes[:1] if is_measured else ranking.notes


def _choose(devices: list[DeviceRow], names: dict[int, str]) -> tuple[LayerShape, DeviceRow]:
    with st.container(horizontal=True, gap="small"):
        numbers = {name: _number(name) for name in LABELS}
        precision = url_state.select("Precision", "precision", list(PRECISIONS), width=BOX_WIDTH)
        layout = url_state.select("Layout", "layout", list(LAYOUTS), show=WORDS.__getitem__, width=BOX_WIDTH)
        device = url_state.select(
            "Device",
            "device",
            devices,
            show=lambda one: names[one.id],
            as_text=lambda one: one.uuid,
            width=BOX_WIDTH * 2 + 16,
        )
    shape = LayerShape(numbers["in"], numbers["out"], numbers["batch"], precision, layout)  # type: ignore[arg-type]
    return shape, device


def _number(name: str) -> int:
    """Draw the box of a whole number that is a parameter of the URL.

    Raises:
        UsageError: the URL holds something else.
    """
    text = url_state.requested(name) or str(DEFAULTS[name])
    number = whole_number(text)
    if number is None or not 1 <= number <= MOST:
        raise UsageError(
            f"{LABELS[name].lower()}: {text[:40]!r} is no integer from 1 to {MOST:,}; try {DEFAULTS[name]}"
        )
    key = f"which_{name}"
    st.session_state[key] = number

    def change() -> None:
        url_state.remember(name, str(st.session_state[key]))

    return int(st.number_input(LABELS[name], 1, MOST, key=key, on_change=change, width=BOX_WIDTH))


def _headline(ranking: LayerRanking) -> None:
    best = ranking.cells[0] if ranking.cells else None
    if best is None or best.latency_ms is None:
        finding(f"{ranking.in_features:,} → {ranking.out_features:,}: no data for this device")
        return
    sides = f"{ranking.in_features:,} → {ranking.out_features:,}"
    how = f"{best.structure} by {best.implementation}"
    if best.family == "dense" or best.saved_ms is None or ranking.dense_latency_ms is None:
        finding(f"{sides}: {how}, {best.latency_ms:.4g} ms ({best.latency_source})")
        return
    energy = f" and {best.saved_mj:.3g} mJ" if best.saved_mj is not None else ""
    finding(
        f"{sides}: {how} saves {best.saved_ms:.3g} ms{energy}, "
        f"{ratio(ranking.dense_latency_ms / best.latency_ms)} as fast as dense ({best.latency_source})"
    )


def _table(ranking: LayerRanking) -> None:
    possible = [one for one in ranking.cells if one.reason is None]
    show_table(pd.DataFrame([_row(one) for one in possible]), 460)
    known = sum(one.latency_source != "no data" for one in possible)
    measured = sum(one.latency_source == "measured" for one in possible)
    note(f"{count(len(possible), 'way', 'ways')}: {measured} measured, {known - measured} predicted.")


def _row(one: RankedCell) -> dict[str, object]:
    return {
        "structure": one.structure,
        "implementation": one.implementation,
        "latency (ms)": one.latency_ms,
        "saved (ms)": one.saved_ms,
        "latency is": one.latency_source,
        "energy (mJ)": one.energy_mj,
        "saved (mJ)": one.saved_mj,
        "energy is": one.energy_source,
        "parameters": one.parameters,
        "of dense (%)": 100 * one.share,
        "GFLOP": one.gflops,
    }


def _reasons(ranking: LayerRanking) -> None:
    reasons = [
        f"{one.structure} by {one.implementation}: {one.reason}" for one in ranking.cells if one.reason
    ]
    reasons += [f"{family}: {reason}" for family, reason in ranking.left_out.items()]
    if reasons:
        with st.expander(f"{count(len(reasons), 'way', 'ways')} that this layer or device does not have"):
            show_reasons(pd.Series(reasons), "ways")


def _measure(shape: LayerShape, device: DeviceRow) -> None:
    """Draw the request to measure this layer, or its progress; the ranking then shows what it measured."""
    arguments: dict[str, object] = {
        "layer": [f"{shape.in_features},{shape.out_features}"],
        "batch": [shape.batch],
        "precision": [shape.precision],
        "layout": [shape.layout],
    }
    why = f"which structure for {shape}"
    show_measurement("which", "Measure this layer", device.uuid, arguments, why)

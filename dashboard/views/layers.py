"""Layers: what each family costs for one linear map, and the patterns inside a structure."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from kswatch.dashboard.charts.structures.layer_costs import latency_by_parameters, pareto_front
from kswatch.dashboard.components import downloads, links, url_state
from kswatch.dashboard.components.filters import BOX_WIDTH
from kswatch.dashboard.components.panels import (
    chart,
    choose_row,
    empty_state,
    finding,
    hint,
    note,
    origin_badge,
    show_reasons,
)
from kswatch.dashboard.components.structured_scope import StructuredScope, choose_structured_scope
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.labels import WORDS, count, ratio
from kswatch.db.records import COMPARABLE
from kswatch.kernels.families.base import ChainFamily
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.pattern import Pattern

COLUMNS = {
    "structure": "structure",
    "algorithm": "implementation",
    "of_dense": "of dense (%)",
    "parameters": "parameters",
    "latency_ms": "latency (ms)",
    "latency_low_ms": "low (ms)",
    "latency_high_ms": "high (ms)",
    "over_dense": "dense over it (×)",
    "energy_mj": "energy (mJ)",
    "memory_peak_mb": "peak memory (MB)",
    "relative_error": "relative error",
}


def show() -> None:
    """Draw the page."""
    scope = choose_structured_scope(cached_queries.runs_of_layers())
    if scope is None:
        empty_state(
            "No layer has been measured yet.",
            ["kswatch", "profile", "layers", "--device", "cpu", "--budget", "10m"],
            "Each family of structures at four sizes, for the linear layers of four models.",
        )
        return
    cells = scope.newest_cells(cached_queries.layer_cells(scope.run_ids))
    cells = _choose_layer(cells)
    shape = cells.iloc[0]
    inputs, outputs, batch = int(shape["c"]), int(shape["b"]), int(shape["batch"])
    downloads.set_subject(
        device=scope.name,
        layer=f"{inputs}-{outputs}",
        batch=batch,
        precision=shape["precision"],
        layout=shape["layout"],
    )
    measured = cells[cells["status"].isin(COMPARABLE) & cells["latency_ms"].notna()]
    dense = measured.loc[measured["family"] == "dense", "latency_ms"].min()
    measured = measured.assign(
        of_dense=100 * measured["parameters"] / (inputs * outputs),
        over_dense=dense / measured["latency_ms"],
        memory_peak_mb=measured["memory_peak_bytes"] / 1e6,
    )
    origin_badge(scope.origin)
    _headline(measured, inputs, outputs)
    note(
        f"{scope.name}, {inputs:,} inputs to {outputs:,} outputs, batch {batch:,}, {shape['precision']}, "
        f"{WORDS.get(shape['layout'], shape['layout'])}; newest measurement of each structure. Different "
        "families are different matrices: they are compared by cost at equal shape."
    )
    if measured["parameters"].notna().any():
        _front(measured.dropna(subset=["parameters"]))
    _table(scope, measured, batch)
    _reasons(cells)


def _choose_layer(cells: pd.DataFrame) -> pd.DataFrame:
    """Draw the boxes of shape, batch, precision and layout; returns the cells of that layer."""
    with st.container(horizontal=True, gap="small"):
        shapes = sorted({(int(c), int(b)) for c, b in zip(cells["c"], cells["b"], strict=True)})
        inputs, outputs = url_state.select(
            "Layer",
            "layer",
            shapes,
            show=lambda sides: f"{sides[0]:,} → {sides[1]:,}",
            as_text=lambda sides: f"{sides[0]},{sides[1]}",
            width=BOX_WIDTH,
        )
        cells = cells[(cells["c"] == inputs) & (cells["b"] == outputs)]
        for column in ("batch", "precision", "layout"):
            held = sorted(cells[column].unique())
            default = 196 if column == "batch" and 196 in held else None
            chosen = url_state.select(
                column.capitalize(),
                column,
                held,
                default,
                lambda one: str(WORDS.get(one, one)),
                width=BOX_WIDTH,
            )
            cells = cells[cells[column] == chosen]
    return cells


def _headline(measured: pd.DataFrame, inputs: int, outputs: int) -> None:
    if measured.empty:
        finding(f"{inputs:,} → {outputs:,}: nothing could be measured")
        return
    best = measured.loc[measured["latency_ms"].idxmin()]
    if best["family"] == "dense":
        finding(f"{inputs:,} → {outputs:,}: dense is the fastest, {best['latency_ms']:.4g} ms")
        return
    against = (
        f", {ratio(best['over_dense'])} as fast as dense" if best["over_dense"] == best["over_dense"] else ""
    )
    finding(
        f"{inputs:,} → {outputs:,}: {best['structure']} by {best['algorithm']} is the fastest, "
        f"{best['latency_ms']:.4g} ms{against}, {best['of_dense']:.3g} % of its parameters"
    )


def _front(measured: pd.DataFrame) -> None:
    measured = measured.reset_index(drop=True)
    chart(
        latency_by_parameters(measured),
        measured[
            ["structure", "algorithm", "parameters", "latency_ms", "latency_low_ms", "latency_high_ms"]
        ].assign(problem=measured["structure"] + " by " + measured["algorithm"]),
        "layer_costs",
        "Latency of each structure against its parameters, with the Pareto front.",
        on_choose=partial(_choose_structure, measured),
        shown="the patterns inside",
    )
    front = pareto_front(measured)
    note(f"On the Pareto front: {', '.join(front['structure'] + ' by ' + front['algorithm'])}.")


def _choose_structure(measured: pd.DataFrame, label: str) -> None:
    url_state.remember("structure", measured.loc[int(label), "structure"])


def _table(scope: StructuredScope, measured: pd.DataFrame, batch: int) -> None:
    if measured.empty:
        return
    ordered = measured.sort_values("latency_ms").reset_index(drop=True)
    held = [name for name in COLUMNS if ordered[name].notna().any()]
    place = choose_row(ordered[held].rename(columns=COLUMNS), "structures", "for the patterns inside", 420)
    if place is not None:
        url_state.remember("structure", ordered.loc[place, "structure"])
    chosen = url_state.requested("structure")
    if chosen in set(ordered["structure"]):
        _patterns_inside(scope, ordered[ordered["structure"] == chosen].iloc[0], batch)


def _patterns_inside(scope: StructuredScope, cell: pd.Series, batch: int) -> None:
    """Draw the products that a structure consists of, each linked to its page."""
    structure = Structure.parse(cell["structure"])
    family = structure.family
    finding(f"Inside {structure}: {family.statement}")
    chain: tuple[Pattern, ...] = ()
    if isinstance(family, ChainFamily):
        chain = family.chain(int(cell["c"]), int(cell["b"]), structure.size)
    if not chain:
        hint("No Kronecker-sparse factors of its own.")
        return
    note(f"{count(len(chain), 'factor')}, the right-most first:")
    for pattern in chain:
        links.link(
            "pattern",
            f"({pattern}): {pattern.columns:,} → {pattern.rows:,}, density {pattern.density}",
            icon=":material/grid_on:",
            device=scope.uuid,
            pattern=pattern,
            batch=batch,
            precision=cell["precision"],
            layout=cell["layout"],
        )


def _reasons(cells: pd.DataFrame) -> None:
    others = cells[~cells["status"].isin(COMPARABLE)]
    if others.empty:
        return
    with st.expander(f"{count(len(others), 'cell')} without a time"):
        words = others["status"].str.replace("_", " ") + ": " + others["reason"].fillna("no reason stored")
        show_reasons(words, "cells")

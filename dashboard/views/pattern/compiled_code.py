"""The compiled code of one night's cells: registers, spills, instructions, hardware counters."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from kswatch.dashboard.components.panels import TITLES, finding, note, show_table
from kswatch.dashboard.data import queries as cached_queries

CODE_COLUMNS = (
    *("kernel", "family", "architecture", "registers"),
    *("spill_bytes", "shared_bytes", "instructions", "compiler"),
)
MOST_INSTRUCTIONS = 6
"""Instructions listed per kernel, the most frequent first."""


def with_registers(night: pd.DataFrame) -> pd.DataFrame:
    """Adds `registers` (of the kernel with most) and `spill_bytes` (of all kernels) by the code's hash."""
    found = _resources(night)
    if found.empty:
        return night.assign(registers=float("nan"), spill_bytes=float("nan"))
    by_code = found.groupby("code_hash").agg(
        registers=("registers", "max"), spill_bytes=("spill_bytes", "sum")
    )
    return night.merge(by_code, left_on="code_hash", right_index=True, how="left")


def show_code(run_id: int, night: pd.DataFrame) -> None:
    """Draw the compiled code of each kernel, and the hardware counters."""
    found = _resources(night)
    cell_ids = tuple(sorted({int(cell) for cell in night["cell_id"]}))
    counters = cached_queries.counters(run_id, cell_ids)
    if found.empty and counters.empty:
        note("These cells store no compiler report and no hardware counters.")
        return
    code = found.assign(instructions=found["instructions"].map(_most_frequent))
    code = code[list(CODE_COLUMNS)].rename(columns=TITLES)
    for place, (title, table) in zip(
        st.columns(2),
        (("Compiled code", code), ("Counters", _side_by_side(counters))),
        strict=True,
    ):
        if len(table):
            with place:
                finding(title)
                show_table(table)


def _resources(night: pd.DataFrame) -> pd.DataFrame:
    return cached_queries.resources(tuple(sorted(night["code_hash"].dropna().unique())))


def _most_frequent(instructions: dict[str, int]) -> str:
    ordered = sorted(instructions.items(), key=lambda item: -item[1])[:MOST_INSTRUCTIONS]
    return ", ".join(f"{count} {name}" for name, count in ordered)


def _side_by_side(counters: pd.DataFrame) -> pd.DataFrame:
    """One row per counter, one column per implementation; the reason in place of a missing value."""
    if counters.empty:
        return counters
    text = (
        counters["value"]
        .map(lambda value: f"{value:,.4g}")
        .where(counters["value"].notna(), counters["reason"])
    )
    unit = counters["unit"].fillna("")
    table = counters.assign(text=text, counter=counters["name"], unit=unit).pivot_table(
        index=["counter", "unit"], columns="implementation", values="text", aggfunc="first", sort=False
    )
    return table.reset_index()

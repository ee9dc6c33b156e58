"""What else differs between the last good run and the first bad one of an alert, in words and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from kswatch.dashboard.components.panels import show_table
from kswatch.dashboard.formatting.labels import count, literal, percent

READINGS: dict[str, str] = {
    "sm_clock_mhz": "SM clock (MHz)",
    "memory_clock_mhz": "memory clock (MHz)",
    "temperature_c": "temperature (°C)",
    "power_w": "power (W)",
    "cycles": "SM cycles per product",
}
RESOURCES: dict[str, str] = {
    "registers": "registers per thread",
    "spill_bytes": "spills (bytes)",
    "shared_bytes": "shared memory (bytes)",
}
TITLES = READINGS | RESOURCES


def show_differences(explanation: Mapping[str, Any]) -> None:
    """Draw machine code, clocks, counters and canaries, as the judging of the first bad run stored them.

    Args:
        explanation: of the alert; `differences` and `canary_change` where they are known.
    """
    found = explanation.get("differences") or {}
    lines = [
        *_code_lines(found.get("code") or {}),
        *_canary_lines(explanation),
        *map(_reading_line, found.get("readings") or ()),
    ]
    rows = [
        *((found.get("code") or {}).get("resources") or ()),
        *(found.get("counters") or ()),
    ]
    if not lines and not rows:
        return
    st.markdown("**Evidence**")
    st.markdown("\n".join(f"- {literal(line)}" for line in lines))
    if rows:
        show_table(pd.DataFrame([_row(row) for row in rows]))


def _code_lines(code: Mapping[str, Any]) -> list[str]:
    known, changed = code.get("cells_known", 0), code.get("cells_changed", 0)
    if not known:
        return []
    if not changed:
        return [f"Code: the same machine code in {count(known, 'known cell')}."]
    return [f"Code: the machine code changed in {changed} of {count(known, 'known cell')}."]


def _canary_lines(explanation: Mapping[str, Any]) -> list[str]:
    if "canary_change" not in explanation:
        return []
    change = explanation["canary_change"]
    if change is None:
        return ["Canaries: none moved beyond its limit."]
    return [f"Canaries: one moved by {percent(change)}."]


def _reading_line(found: Mapping[str, Any]) -> str:
    """The change of a clock, temperature or power, median over the alert's cells, in words."""
    name, before, after = str(found["name"]), float(found["before"]), float(found["after"])
    title, _, unit = TITLES.get(name, name.replace("_", " ")).partition(" (")
    change = f" ({percent(after / before - 1)})" if before else ""
    return (
        f"{title[0].upper()}{title[1:]}: {before:,.4g} to {after:,.4g} {unit.rstrip(')')}".rstrip()
        + change
        + "."
    )


def _row(found: Mapping[str, Any]) -> dict[str, object]:
    before, after = float(found["before"]), float(found["after"])
    name = str(found["name"])
    return {
        "property": TITLES.get(name, name.replace("_", " ")),
        "kernel": found.get("kernel"),
        "before": before,
        "after": after,
        "change": after / before - 1 if before else None,
    }

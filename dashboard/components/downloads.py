"""Data of charts as CSV files that say what they hold: device, run, precision, layout, batch."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from kswatch.db.interchange.csv_text import guard

_SUBJECT = "subject_of_downloads"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.]+")


def set_subject(**facts: object) -> None:
    """Set what the charts drawn from here on are about, as `device` and `run`, instead of what was set."""
    st.session_state[_SUBJECT] = {
        name: str(value) for name, value in facts.items() if value not in (None, "")
    }


def subject() -> dict[str, str]:
    """What charts are about, as a page has set it."""
    return dict(st.session_state.get(_SUBJECT, {}))


def file_name(name: str, about: Mapping[str, str]) -> str:
    """The name of a chart's file, with its subject in letters that every file system takes."""
    parts = [name, *(f"run {value}" if key == "run" else value for key, value in about.items())]
    return "_".join(_NOT_IN_NAMES.sub("-", part).strip("-") for part in parts) + ".csv"


def csv(data: pd.DataFrame, about: Mapping[str, str]) -> bytes:
    """The data as CSV with a column for each fact of its subject; no text is a formula to a spreadsheet."""
    known = {guard(str(name)) for name in data.columns}
    facts = {name: value for name, value in about.items() if name not in known and f"{name}_id" not in known}
    guarded = data.rename(columns=guard).assign(**facts)
    guarded = guarded.map(lambda value: guard(value) if isinstance(value, str) else value)
    return guarded.to_csv(index=False).encode("utf-8", "replace")

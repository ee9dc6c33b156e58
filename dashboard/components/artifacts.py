"""The files that a run keeps, to download."""

from __future__ import annotations

import re
from functools import partial

import streamlit as st

from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.store import reading_store
from kswatch.dashboard.formatting.labels import count, literal
from kswatch.db.artifacts.stored import ArtifactRow, artifact_content

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def show_artifacts(run_id: int) -> None:
    """Draw a button for each file of a run, which reads it only when it is pressed; nothing without files."""
    found = cached_queries.artifacts((run_id,))
    if not found:
        return
    with st.expander(count(len(found), "file")):
        for one in found:
            st.download_button(
                literal(f"{one.name}, {one.size_bytes / 1e6:.1f} MB"),
                data=partial(_content, one),
                file_name=_NOT_IN_NAMES.sub("-", one.name),
                mime="application/octet-stream",
                key=f"artifact_{one.id}",
                on_click="ignore",
                icon=":material/download:",
            )


def _content(one: ArtifactRow) -> bytes:
    return artifact_content(reading_store(), one.id)[1]

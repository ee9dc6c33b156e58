"""Changes under review: each gate, its cells with intervals, the findings on machine code beside them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

import pandas as pd
import streamlit as st

from kswatch.dashboard.components import code_links, timezone, url_state
from kswatch.dashboard.components.panels import (
    empty_state,
    finding,
    note,
    origin_badge,
    show_choices,
    show_table,
)
from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.formatting.code_urls import SHORT_COMMIT
from kswatch.dashboard.formatting.labels import count, duration, interval
from kswatch.db.gates.reads import GateRow
from kswatch.db.gates.records import CellVerdict, CodeFinding, KernelCode

MOST_GATES = 200
COMMAND = ["kswatch", "gate", "--base", "main"]
VERDICT_COLOURS = {"regressed": "red", "not measured": "orange", "fine": "green"}
CONTEXT_LINES = 3
MOST_LINES = 3_000
"""Of the comparison of one kernel's machine code."""


def show() -> None:
    """Draw the page."""
    gates = cached_queries.gates(limit=MOST_GATES)
    if not gates:
        empty_state("No change was compared with its base yet.", COMMAND)
        return
    regressed = sum(one.verdict == "regressed" for one in gates)
    finding(f"{count(len(gates), 'gate')}, {regressed} regressed")
    if len(gates) == MOST_GATES:
        note(f"The newest {MOST_GATES} gates.")
    commits, columns = code_links.table_links([_ends(one) for one in gates])
    rows = map(_row, gates, commits)
    show_choices(pd.DataFrame(rows), "gate", {}, height=330, column_config=columns)
    with st.container(border=True):
        _show_gate(_chosen(gates))


def _row(one: GateRow, commits: str | None) -> dict[str, object]:
    return {
        "gate": one.id,
        "time": timezone.local(one.started_at),
        "verdict": one.verdict,
        "branch": one.branch,
        "author": one.author,
        "commits": commits,
        "subject": one.subject,
        "kind": one.kind,
        "device": one.model,
        "host": one.host,
    }


def _ends(one: GateRow) -> tuple[str, str]:
    """The base, or the head again where a budget is the base, and the head."""
    return one.base_commit or one.head_commit, one.head_commit


def _commits(one: GateRow) -> str:
    base = one.base_commit[:SHORT_COMMIT] if one.base_commit else "budget"
    return f"{base}..{one.head_commit[:SHORT_COMMIT]}"


def _chosen(gates: list[GateRow]) -> GateRow:
    """Draw the box of gates, with the gate of the URL however old it is."""
    requested = url_state.requested_number("gate")
    if requested is not None and requested not in [one.id for one in gates]:
        gates = [*gates, *cached_queries.gates(ids=(requested,))]
    return url_state.select("Gate", "gate", gates, show=lambda one: f"{one.id} · {_title(one)}")


def _title(one: GateRow) -> str:
    return f"{one.branch or 'no branch'} {_commits(one)} · {one.model or 'machine code'}"


def _show_gate(one: GateRow) -> None:
    finding(_title(one))
    with st.container(horizontal=True, gap="small"):
        st.badge(one.verdict, color=VERDICT_COLOURS[one.verdict])  # type: ignore[arg-type]
        if one.simulated:
            origin_badge("simulated")
    about = [one.subject, one.author and f"by {one.author}", one.outcome, duration(one.seconds), one.host]
    note(" · ".join(filter(None, about)))
    if one.base_commit:
        st.caption(f"Commits {code_links.range_link(one.base_commit, one.head_commit)}")
    else:
        st.caption(f"Commit {code_links.commit_link(one.head_commit)}")
    for text in one.notes:
        note(text)
    if one.reason:
        st.code(one.reason, language=None, wrap_lines=True)
    measured, static = _both(one)
    if measured is not None:
        _show_cells(measured)
    if static is not None:
        _show_findings(static)
        _show_code(cached_queries.gate_code(static.id))


def _both(one: GateRow) -> tuple[GateRow | None, GateRow | None]:
    """The gate and the newest one of the other kind on the same revisions: measured, static."""
    same = [
        other
        for other in cached_queries.gates(limit=MOST_GATES)
        if (other.head_commit, other.base_commit) == (one.head_commit, one.base_commit)
    ]
    newest = {other.kind: other for other in reversed(same)} | {one.kind: one}
    return newest.get("measured"), newest.get("static")


def _show_cells(one: GateRow) -> None:
    cells = cached_queries.gate_cells(one.id)
    if not cells:
        note("No cell was measured.")
        return
    confirmed = sum(cell.confirmed for cell in cells)
    finding(f"{count(len(cells), 'cell')}, {count(confirmed, 'confirmed change')}")
    show_table(pd.DataFrame([_cell_row(cell) for cell in cells]), height=400)


def _cell_row(cell: CellVerdict) -> dict[str, object]:
    return {
        "verdict": _verdict(cell),
        "change": cell.change,
        "95 % interval": interval(cell.change_low, cell.change_high),
        "implementation": cell.implementation,
        "problem": cell.problem.words,
        "base (ms)": cell.base_ms,
        "head (ms)": cell.head_ms,
        "pairs": cell.pairs,
        "reason": cell.reason,
    }


def _verdict(cell: CellVerdict) -> str:
    if cell.verdict is None:
        return str(cell.head_status) if cell.confirmed else "not compared"
    return f"{cell.verdict}, confirmed" if cell.confirmed else cell.verdict


def _show_findings(one: GateRow) -> None:
    found = cached_queries.gate_findings(one.id)
    over = sum(each.state != "changed" for each in found)
    finding(f"{count(len(found), 'figure')} of machine code changed, {over} regressed or over budget")
    if found:
        show_table(pd.DataFrame([_finding_row(each) for each in found]), height=400)


def _finding_row(found: CodeFinding) -> dict[str, object]:
    return {
        "state": found.state.replace("_", " "),
        "kernel": found.kernel,
        "architecture": found.architecture,
        "figure": found.figure.replace("_", " "),
        "base": found.before,
        "head": found.after,
    }


def _show_code(codes: Sequence[KernelCode]) -> None:
    """Draw the machine code of both revisions side by side, of one kernel at a time, when it is unfolded."""
    if not codes:
        return
    fold = st.expander(
        f"Machine code of {count(len(codes), 'kernel')}", on_change="rerun", key="machine_code"
    )
    if not fold.open:
        return
    with fold:
        names = [f"{one.architecture} {one.kernel}" for one in codes]
        place = st.selectbox("Kernel", range(len(names)), format_func=names.__getitem__, key="kernel_code")
        lines = list(side_by_side(codes[place]))
        changed = sum(line[1] != " " for line in lines)
        note(f"{changed} lines differ; {CONTEXT_LINES} equal ones are shown around them.")
        frame = pd.DataFrame(lines[:MOST_LINES], columns=["base", " ", "head"])
        wide = st.column_config.TextColumn(width="large")
        show_table(frame, height=600, column_config={"base": wide, "head": wide})
        if len(lines) > MOST_LINES:
            note(f"The first {MOST_LINES:,} of {len(lines):,} lines.")


def side_by_side(code: KernelCode) -> Iterator[tuple[str, str, str]]:
    """Lines of both revisions with a mark between them: `<` removed, `>` added, `|` changed, blank equal."""
    base, head = code.base_code.splitlines(), code.head_code.splitlines()
    matcher = difflib.SequenceMatcher(None, base, head, autojunk=len(base) > MOST_LINES)
    for group in matcher.get_grouped_opcodes(CONTEXT_LINES):
        for kind, base_from, base_to, head_from, head_to in group:
            rows = max(base_to - base_from, head_to - head_from)
            left = [*base[base_from:base_to], *[""] * rows][:rows]
            right = [*head[head_from:head_to], *[""] * rows][:rows]
            marks = [" " if kind == "equal" else _mark(*pair) for pair in zip(left, right, strict=True)]
            yield from zip(left, marks, right, strict=True)
        yield "⋯", " ", "⋯"


def _mark(left: str, right: str) -> str:
    return "|" if left and right else "<" if left else ">"

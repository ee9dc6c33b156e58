"""A gate's result as the store keeps it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kswatch.ci.gate.sequential import GateResult
from kswatch.ci.gate.static import StaticResult
from kswatch.db.gates.recording import record_gate
from kswatch.db.gates.records import CodeFinding, GateRecord, KernelCode
from kswatch.db.paired_runs.paired_record import BASE, HEAD
from kswatch.db.records import RevisionRecord
from kswatch.db.store import Store

MOST_KERNELS = 20
"""Kernels of a gate whose machine code is stored, those with changed figures first."""
LONGEST_NAME, LONGEST_FIGURE = 255, 64


@dataclass(frozen=True)
class Change:
    """The change under review, as people know it."""

    branch: str | None = None
    author: str | None = None


def change_of_job(environment: Mapping[str, str]) -> Change:
    """Branch and author by the variables of a job of GitHub or GitLab; None where there is no such job."""
    names = (
        "GITHUB_HEAD_REF",
        "GITHUB_REF_NAME",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
        "CI_COMMIT_REF_NAME",
    )
    branch = next(filter(None, map(environment.get, names)), None)
    author = next(filter(None, map(environment.get, ("GITHUB_ACTOR", "GITLAB_USER_LOGIN"))), None)
    return Change(branch, author)


def record_result(
    store: Store, result: GateResult, runs: Mapping[str, int], change: Change, started_at: datetime
) -> int:
    """Record a measured gate and return its number; `runs` holds those of both sides by `base` and `head`."""
    broken = result.broken
    reason = f"{broken.side} {broken.commit[:12]}: {broken.reason}\n{broken.log[-1500:]}" if broken else None
    gate = GateRecord(
        kind="measured",
        seconds=result.seconds,
        base_commit=result.base.commit,
        outcome=result.outcome,
        exit_code=result.exit_code,
        base_run_id=runs.get(BASE),
        head_run_id=runs.get(HEAD),
        notes=result.notes,
        reason=reason,
        **_of_change(result.head, change, started_at),
    )
    return record_gate(store, gate, result.verdicts, device=result.device)


def record_static(
    store: Store,
    result: StaticResult,
    machine_code: Callable[[Collection[str]], dict[str, str]],
    change: Change,
    started_at: datetime,
) -> int:
    """Record a static gate and return its number; `machine_code` gives the text of kernels by their hash."""
    gate = GateRecord(
        kind="static",
        seconds=(datetime.now(UTC) - started_at).total_seconds(),
        base_commit=result.base.commit if result.base else None,
        outcome="compiled",
        exit_code=result.exit_code,
        notes=(result.note,) if result.note else (),
        **_of_change(result.head, change, started_at),
    )
    findings, codes = list(_findings(result)), _codes(result, machine_code)
    return record_gate(store, gate, findings=findings, codes=codes)


def _of_change(head: RevisionRecord, change: Change, started_at: datetime) -> dict[str, Any]:
    names = {"branch": change.branch, "author": change.author, "host": socket.gethostname()}
    shortened = {name: text and text[:LONGEST_NAME] for name, text in names.items()}
    return {"head_commit": head.commit, "subject": head.subject, "started_at": started_at, **shortened}


def _findings(result: StaticResult) -> Iterator[CodeFinding]:
    for fault in result.faults:
        yield CodeFinding(
            "over_budget",
            *(fault.kernel, fault.architecture, fault.what[:LONGEST_FIGURE]),
            *(fault.allowed[:LONGEST_FIGURE], fault.found[:LONGEST_FIGURE]),
        )
    for one in sorted(result.changes, key=lambda one: not one.regressed):
        state = "regressed" if one.regressed else "changed"
        yield CodeFinding(
            state, one.kernel, one.architecture, one.figure, _figure(one.before), _figure(one.after)
        )


def _figure(value: int | None) -> str | None:
    return None if value is None else str(value)


def _codes(
    result: StaticResult, machine_code: Callable[[Collection[str]], dict[str, str]]
) -> Sequence[KernelCode]:
    by_rank = sorted(result.changes, key=lambda one: one.regressed)
    worst = {(one.kernel, one.architecture): one.regressed for one in by_rank}
    ranks = {True: 0, False: 1, None: 2}
    chosen = sorted(
        result.different, key=lambda pair: ranks[worst.get((pair[1].kernel, pair[1].architecture))]
    )[:MOST_KERNELS]
    texts = machine_code({row.code_hash for pair in chosen for row in pair})
    return [
        KernelCode(head.kernel, head.architecture, texts[base.code_hash], texts[head.code_hash])
        for base, head in chosen
        if base.code_hash in texts and head.code_hash in texts
    ]

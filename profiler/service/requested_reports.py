"""Reports of `ncu` that a request asks for: kept after its run, within its time limit."""

from __future__ import annotations

import time

from kswatch.db.artifacts.stored import NCU_REPORT, artifacts
from kswatch.db.queries.basic import RequestRow
from kswatch.db.request_queue import events as request_events
from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.runs.ncu_reports import keep_reports
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.session import RunContext


def keep_requested_reports(store: Store, request: RequestRow, result: RunResult, context: RunContext) -> None:
    """Keep the reports of a finished run whose request asks for them, and record how many, or why none.

    A run without them is no failure. Those that an earlier server kept are not made again.
    """
    if not request.arguments.get(NCU_REPORT) or result.state != "finished" or artifacts(store, (result.run,)):
        return
    if context.remote:
        sentence = "no report is kept: ncu profiles the devices of its own host"
    else:
        sentence = _kept(store, request, result, context)
    context.progress.note(sentence)
    request_events.record_reports(store, request.id, sentence)


def _kept(store: Store, request: RequestRow, result: RunResult, context: RunContext) -> str:
    budget, started_s = request.arguments.get("budget"), time.monotonic()
    left_s = parse_seconds(str(budget)) - result.seconds if budget else None

    def may_continue() -> bool:
        is_over = left_s is not None and time.monotonic() - started_s >= left_s
        return not is_over and not context.stop.is_set()

    notes: list[str] = []
    try:
        kept = keep_reports(store, result.run, notes.append, may_continue=may_continue)
    except KswatchError as error:
        return str(error)
    return "; ".join([f"{kept} reports of ncu are kept", *notes[:1]])

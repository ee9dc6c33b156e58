"""Measuring again what a night flagged: its revision and the last good one, in turns on the same device.

What both revisions feel is the machine, what one of them feels is its code. Where the good one cannot be
had, nothing is measured here, and the reason is given: then the night's revision is measured alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from kswatch.db.paired_runs.paired_record import HEAD, BrokenRevision
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.store import Store
from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.ab_runs.session import Asked, GateSession, open_gate
from kswatch.profiler.planning.budget import parse_seconds
from kswatch.profiler.revisions.git import repository_of
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.session import Surroundings

KIND: Final = "confirm"
PAIRS, FEWEST_PAIRS = 5, 3
"""Pairs of fresh processes, and how many the time must at least reach for."""
ROUNDS = 8
"""ABBA rounds of each cell by one pair."""
BUDGET_S = 600.0


def measure_in_turns(
    store: Store,
    request: RequestRow,
    surroundings: Surroundings,
    repository: Path = Path(__file__).parent,
    clock: Callable[[], float] = time.monotonic,
) -> RunResult | str:
    """The newest run of the night's revision, or why the two were not measured.

    Each pair of processes is recorded as two runs of the request, with `SIDE` and `against` among their
    arguments. Only the flagged implementations are measured: the other revision tells what the machine does.

    Raises:
        MeasurementError: the device was lost meanwhile.
    """
    arguments = request.arguments
    if not arguments.get("good_revision") or not arguments.get("bad_revision"):
        return str(arguments.get("why_alone") or "no good revision is known")
    if surroundings.distant:
        return "its device is another host's, which has no worktrees"
    with ExitStack() as given_back:
        try:
            asked = _asked(request, repository_of(repository))
            session = given_back.enter_context(open_gate(asked, surroundings, store))
        except (UsageError, MeasurementError) as error:
            return str(error)
        if not session.cells:
            what = ", ".join(arguments["flagged"])
            return f"nothing that feeds {what} changed between {asked.base[:12]} and {asked.head[:12]}"
        budget_s = parse_seconds(str(arguments["budget"])) if arguments.get("budget") else BUDGET_S
        began_s = clock()
        if broken := _measure(session, lambda: budget_s - (clock() - began_s)):
            return f"the {broken.side} revision {broken.commit[:12]} cannot be measured: {broken.reason}"
    return RunResult.of(queries.run(store, session.runs[HEAD]))


def _asked(request: RequestRow, repository: Path) -> Asked:
    arguments = request.arguments
    return Asked(
        repository,
        base=str(arguments["good_revision"]),
        head=str(arguments["bad_revision"]),
        device=request.device,
        suite=request.suite,
        filters={"problem": arguments["problem"], "implementation": arguments["flagged"]},
        kind=KIND,
        request_id=request.id,
    )


def _measure(session: GateSession, left_s: Callable[[], float]) -> BrokenRevision | None:
    """Pairs until time or patience is over, of as many cells as can be measured often enough."""
    cells = session.cells
    for pair in range(PAIRS):
        began_left_s = left_s()
        with closing(session.readings(cells, ROUNDS, swapped=pair % 2 == 1)) as readings:  # type: ignore[type-var]
            for reading in readings:
                if isinstance(reading, BrokenRevision):
                    return reading
                if left_s() <= 0 and pair > 0:
                    return None
        took_s = began_left_s - left_s()
        if pair == 0:
            share = left_s() / (took_s * (FEWEST_PAIRS - 1)) if took_s else 1.0
            cells = dict(list(cells.items())[: max(1, int(min(1.0, share) * len(cells)))])
        elif left_s() < took_s:
            return None
    return None

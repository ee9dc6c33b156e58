"""Confirming measurements: the flagged revision and the last good one, interleaved on the same device.

A change that both revisions show is the machine's; one that only the flagged revision shows is its code's.
Where the good revision is not available, nothing is measured here and the reason is returned: the flagged
revision is then measured alone.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

from kswatch.db.coordination.leases import DeviceBusyError
from kswatch.db.paired_runs.paired_record import HEAD, BrokenRevision
from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.records import CONFIRM
from kswatch.db.request_queue.confirmation import ConfirmationRequest, problem_text
from kswatch.db.store import Store
from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.ab_runs.session import ComparisonRequest, GateSession, open_gate
from kswatch.profiler.planning.budget import TimeBudget, parse_seconds
from kswatch.profiler.revisions.git import repository_of
from kswatch.profiler.runs.problem_loop import RunResult
from kswatch.profiler.runs.session import RunContext

PAIRS, FEWEST_PAIRS = 5, 3
"""Pairs of fresh processes: the most, and the fewest that the budget must suffice for."""
ROUNDS = 8
"""ABBA rounds of each cell by one pair."""
BUDGET_S = 600.0


def measure_interleaved(
    store: Store,
    request: RequestRow,
    context: RunContext,
    repository: Path = Path(__file__).parent,
) -> RunResult | str:
    """The newest run of the flagged revision, or the reason why the two were not measured.

    Each pair of processes is recorded as two runs of the request, with `SIDE` and `against` among their
    arguments. Only the flagged implementations are measured: the good revision shows the machine's part.

    Raises:
        MeasurementError: the device is in use, or was lost meanwhile.
    """
    confirmation = ConfirmationRequest.from_arguments(request.arguments)
    if confirmation is None or not confirmation.good_revision or not confirmation.bad_revision:
        return (confirmation and confirmation.why_alone) or "no good revision is known"
    if context.remote:
        return "its device is on another host, which has no revisions to compare"
    with ExitStack() as resources:
        try:
            comparison = _comparison(request, confirmation, repository_of(repository))
            session = resources.enter_context(open_gate(comparison, context, store))
        except DeviceBusyError:
            raise  # the two are measured once it is free
        except (UsageError, MeasurementError) as error:
            return str(error)
        if not session.cells:
            names, base, head = ", ".join(confirmation.flagged), comparison.base, comparison.head
            return f"no change between {base[:12]} and {head[:12]} affects {names}"
        budget_s = parse_seconds(confirmation.budget) if confirmation.budget else BUDGET_S
        if broken := _measure(session, TimeBudget(budget_s)):
            return f"the {broken.side} revision {broken.commit[:12]} cannot be measured: {broken.reason}"
    return RunResult.of(queries.run(store, session.runs[HEAD]))


def _comparison(
    request: RequestRow, confirmation: ConfirmationRequest, repository: Path
) -> ComparisonRequest:
    problems = [problem_text(problem) for problem in confirmation.problem]
    return ComparisonRequest(
        repository,
        base=str(confirmation.good_revision),
        head=str(confirmation.bad_revision),
        device=request.device,
        suite=request.suite,
        filters={"problem": problems, "implementation": confirmation.flagged},
        kind=CONFIRM,
        request_id=request.id,
    )


def _measure(session: GateSession, budget: TimeBudget) -> BrokenRevision | None:
    """Measure pairs until the budget is spent, of as many cells as can be measured often enough."""
    cells = session.cells
    for pair in range(PAIRS):
        before_s = budget.left_s
        with closing(session.readings(cells, ROUNDS, swapped=pair % 2 == 1)) as readings:  # type: ignore[type-var]
            for reading in readings:
                if isinstance(reading, BrokenRevision):
                    return reading
                if budget.left_s <= 0 and pair > 0:
                    return None
        pair_s = before_s - budget.left_s
        if pair == 0:
            share = budget.left_s / (pair_s * (FEWEST_PAIRS - 1)) if pair_s else 1.0
            cells = dict(list(cells.items())[: max(1, int(min(1.0, share) * len(cells)))])
        elif budget.left_s < pair_s:
            return None
    return None

"""Recording a run's beginning and end, inside the caller's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from kswatch.db.backend.mapping import columns_of
from kswatch.db.records import RunRecord, RunState
from kswatch.db.schema.tables import Measurement, Prediction, Run
from kswatch.db.writes import heuristic_scores
from kswatch.db.writes import measurements as recording
from kswatch.db.writes.baseline_sets import RunBaselines, rivals_of_run, write_baseline_sets
from kswatch.db.writes.identifiers import device_id, environment_id, revision_id
from kswatch.db.writes.measurements import PlacedCell
from kswatch.db.writes.run_summary import write_run_summary
from kswatch.db.writes.series_tails import KINDS_WITH_TAILS, write_tails
from kswatch.db.writes.speed_of_light import write_speed_of_light
from kswatch.errors import UsageError


def begin(session: Session, record: RunRecord, identity: str | None = None) -> Run:
    """Record that a run began; `identity` is that of an imported run."""
    run = Run(
        device_id=device_id(session, record.device),
        environment_id=environment_id(session, record.environment),
        revision_id=revision_id(session, record.revision),
        state="running",
        identity=identity or uuid4().hex,
        **{column.key: getattr(record, column.key) for column in columns_of(RunRecord, Run)},
    )
    session.add(run)
    session.flush()
    return run


def finish(
    session: Session,
    run: Run,
    state: RunState,
    seconds: float | None,
    harness_seconds: float | None,
    finished_at: datetime,
    cells: Iterable[PlacedCell] | None = None,
) -> None:
    """Record how the run ended; write what follows from its measurements anew.

    `cells` are all measurements of the run, where the caller has them; else they are read.
    """
    run.state, run.finished_at = state, finished_at
    run.seconds, run.harness_seconds = seconds, harness_seconds
    run.by_status, run.by_event = count_outcomes(session, run.id)
    connection = session.connection()
    baselines = RunBaselines(
        recording.held_implementations(connection, run.device_id, run.id), rivals_of_run(connection, run.id)
    )
    # a baseline that was first measured late in the run is missing from the comparisons before it
    compared = recording.stored(connection, run.id) if cells is None else cells
    ratios = recording.write_comparisons(connection, run.id, baselines.sets(), compared)
    write_baseline_sets(connection, run.id, baselines)
    if run.kind in KINDS_WITH_TAILS:
        write_tails(connection, run.device_id, run.id, ratios)
    write_run_summary(session, run.id)
    write_speed_of_light(session, run.id)
    heuristic_scores.write(session, run.id)


def count_outcomes(session: Session, run_id: int) -> tuple[dict[str, int], dict[str, int]]:
    """The number of the run's cells by status, and of its measurements by throttle reason.

    A measurement can have several reasons.
    """
    kinds = (Measurement.status, Measurement.mode, Measurement.event_reasons)
    query = select(*kinds, func.count()).where(Measurement.run_id == run_id).group_by(*kinds)
    statuses: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for status, mode, reasons, count in session.execute(query):
        statuses[status] += count * (mode != "hot")  # else a cell would count twice
        events.update({reason.strip(): count for reason in (reasons or "").split(",") if reason.strip()})
    return dict(sorted((+statuses).items())), dict(sorted(events.items()))


def holds_predictions(session: Session, run_id: int) -> bool:
    """Whether the run has predictions already."""
    return session.scalar(select(Prediction.run_id).where(Prediction.run_id == run_id).limit(1)) is not None


def get_run(session: Session, run_id: int) -> Run:
    """The run of this id.

    Raises:
        UsageError: there is none.
    """
    run = session.get(Run, run_id)
    if run is None:
        raise UsageError(f"there is no run {run_id}; `kswatch runs` lists them")
    return run

"""The reads, in one place to import from: every one takes the store first and gives frozen values.

Where a function has `kinds` and `origins`, its defaults are what headlines and judgement are made of
(nightly, measured); None means all. Naming a run makes both of no effect.
"""

from db.queries_heuristics import (
    HeuristicScoreRow,
    heuristic_scores,
    heuristic_verdicts,
)
from db.queries_judged import (
    alert,
    alert_events,
    alerts,
    heuristic_nights,
    prediction_outcomes,
    request,
    requests,
    verdicts,
)
from db.queries_measured import (
    canaries,
    comparisons,
    measurements,
    problems,
    samples,
    series,
    summaries,
    tails,
)
from db.queries_runs import (
    devices,
    environment_changes,
    find_device,
    run,
    run_events,
    runs,
)
from db.rows import (
    AlertEventRow,
    AlertRow,
    CanaryRow,
    ComparisonRow,
    DeviceRow,
    EnvironmentChange,
    HeuristicNight,
    MeasurementRow,
    PredictionOutcome,
    ProblemRow,
    RequestRow,
    RunEventRow,
    RunRow,
    Series,
    SeriesPoint,
    SummaryRow,
    VerdictRow,
)
from db.run_log import LogLine, run_log
from db.workers import WorkerRow, workers

__all__ = [
    "AlertEventRow",
    "AlertRow",
    "CanaryRow",
    "ComparisonRow",
    "DeviceRow",
    "EnvironmentChange",
    "HeuristicNight",
    "HeuristicScoreRow",
    "LogLine",
    "MeasurementRow",
    "PredictionOutcome",
    "ProblemRow",
    "RequestRow",
    "RunEventRow",
    "RunRow",
    "Series",
    "SeriesPoint",
    "SummaryRow",
    "VerdictRow",
    "WorkerRow",
    "alert",
    "alert_events",
    "alerts",
    "canaries",
    "comparisons",
    "devices",
    "environment_changes",
    "find_device",
    "heuristic_nights",
    "heuristic_scores",
    "heuristic_verdicts",
    "measurements",
    "prediction_outcomes",
    "problems",
    "request",
    "requests",
    "run",
    "run_events",
    "run_log",
    "runs",
    "samples",
    "series",
    "summaries",
    "tails",
    "verdicts",
    "workers",
]

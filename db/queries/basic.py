"""The common reads, in one place to import from: each takes the store first and returns frozen values.

Where a function has `kinds` and `origins`, the defaults are those of headlines and regression checks
(nightly, measured); None means all. They have no effect where runs are named.
"""

from kswatch.db.coordination.workers import workers as workers
from kswatch.db.queries.alerts import AlertEventRow as AlertEventRow
from kswatch.db.queries.alerts import AlertRow as AlertRow
from kswatch.db.queries.alerts import RequestRow as RequestRow
from kswatch.db.queries.alerts import alert as alert
from kswatch.db.queries.alerts import alert_events as alert_events
from kswatch.db.queries.alerts import alerts as alerts
from kswatch.db.queries.alerts import request as request
from kswatch.db.queries.alerts import requests as requests
from kswatch.db.queries.heuristics import ScorePoint as ScorePoint
from kswatch.db.queries.heuristics import counted_scores as counted_scores
from kswatch.db.queries.heuristics import heuristic_scores as heuristic_scores
from kswatch.db.queries.heuristics import heuristic_verdicts as heuristic_verdicts
from kswatch.db.queries.heuristics import prediction_outcomes as prediction_outcomes
from kswatch.db.queries.heuristics import score_points as score_points
from kswatch.db.queries.measurements import canaries as canaries
from kswatch.db.queries.measurements import comparisons as comparisons
from kswatch.db.queries.measurements import measurements as measurements
from kswatch.db.queries.measurements import problems as problems
from kswatch.db.queries.measurements import summaries as summaries
from kswatch.db.queries.rows import CanaryRow as CanaryRow
from kswatch.db.queries.rows import ComparisonRow as ComparisonRow
from kswatch.db.queries.rows import DeviceRow as DeviceRow
from kswatch.db.queries.rows import EnvironmentChange as EnvironmentChange
from kswatch.db.queries.rows import MeasurementRow as MeasurementRow
from kswatch.db.queries.rows import PredictionOutcome as PredictionOutcome
from kswatch.db.queries.rows import RunRow as RunRow
from kswatch.db.queries.rows import SummaryRow as SummaryRow
from kswatch.db.queries.rows import VerdictRow as VerdictRow
from kswatch.db.queries.runs import HistoryFilter as HistoryFilter
from kswatch.db.queries.runs import devices as devices
from kswatch.db.queries.runs import ended_run_ids as ended_run_ids
from kswatch.db.queries.runs import ended_runs as ended_runs
from kswatch.db.queries.runs import environment_changes as environment_changes
from kswatch.db.queries.runs import find_device as find_device
from kswatch.db.queries.runs import run as run
from kswatch.db.queries.runs import run_events as run_events
from kswatch.db.queries.runs import runs as runs
from kswatch.db.queries.verdicts import verdicts as verdicts

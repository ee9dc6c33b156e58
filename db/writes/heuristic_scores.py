"""Scores of each heuristic in a run, computed once from its predictions and comparisons."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from kswatch.db.backend.bulk_insert import insert_rows
from kswatch.db.records import ALL
from kswatch.db.schema.tables import Comparison, HeuristicScore, Prediction, Problem
from kswatch.db.statistics import PredictionResult, accuracy_interval, score_predictions

KEYS = ("heuristic", "version", "metric", "precision", "layout")


def write(session: Session, run_id: int) -> None:
    """Write the scores of a run's predictions anew, in the caller's transaction."""
    keys = (Prediction.heuristic, Prediction.version, Comparison.metric, Problem.precision, Problem.layout)
    measured = (Comparison.speedup, Comparison.speedup_low, Comparison.speedup_high)
    query = (
        select(*keys, Prediction.predicts_fused, *measured)
        .join(Comparison, (Comparison.run_id == run_id) & (Comparison.problem_id == Prediction.problem_id))
        .join(Problem, Problem.id == Prediction.problem_id)
        .where(Prediction.run_id == run_id, Comparison.baselines == ALL, Comparison.speedup.is_not(None))
    )
    groups: dict[tuple[Any, ...], list[PredictionResult]] = defaultdict(list)
    for row in session.execute(query):
        values: tuple[Any, ...] = tuple(row)
        groups[values[: len(keys)]].append(PredictionResult(*values[len(keys) :]))
    session.execute(delete(HeuristicScore).where(HeuristicScore.run_id == run_id))
    rows = []
    for key, results in groups.items():
        interval = dict(zip(("accuracy_low", "accuracy_high"), accuracy_interval(results), strict=True))
        keyed = {"run_id": run_id} | dict(zip(KEYS, key, strict=True))
        rows.append(keyed | asdict(score_predictions(results)) | interval)
    insert_rows(session, HeuristicScore, rows, replace=True)

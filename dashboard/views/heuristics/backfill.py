"""Backfilled predictions of the current heuristics, for runs without any, such as imported ones."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from kswatch.dashboard.components.filters import Scope
from kswatch.dashboard.data import queries as cached_queries
from kswatch.db.statistics import PredictionResult, score_predictions
from kswatch.kernels.heuristics.catalogue import HEURISTICS
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def outcomes(scope: Scope, metric: str) -> pd.DataFrame:
    """One row per heuristic and compared problem of the newest run, in the columns of `queries.outcomes`.

    Args:
        scope: the run, precision, layout and baselines.
        metric: `latency` or `energy`, which decides the winner.
    """
    compared = cached_queries.run_comparisons(scope.newest.id, metric=metric, **scope.about)
    compared = compared[compared["speedup"].notna()]
    facts = {**scope.device.facts, **asdict(scope.device), "metric": metric}
    problems = [
        Problem(Pattern(row.a, row.b, row.c, row.d), row.batch, row.precision, row.layout)
        for row in compared.itertuples()
    ]
    frames = [
        compared.assign(
            heuristic=f"{rule.name} v{rule.version}",
            predicts_fused=[rule.predict(problem, facts).predicts_fused for problem in problems],
        )
        for rule in HEURISTICS
    ]
    return pd.concat(frames, ignore_index=True)


def scores(predictions: pd.DataFrame, scope: Scope) -> pd.DataFrame:
    """The score of each heuristic, in the columns of `queries.heuristic_nights`."""
    rows = [
        asdict(
            score_predictions(
                [
                    PredictionResult(*row)
                    for row in group[["predicts_fused", "speedup"]].itertuples(index=False)
                ]
            )
        )
        | {"heuristic": name, "run_id": scope.newest.id, "started_at": scope.newest.started_at}
        for name, group in predictions.groupby("heuristic", sort=False)
    ]
    return pd.DataFrame(rows).astype({"balanced_accuracy": float}) if rows else pd.DataFrame()

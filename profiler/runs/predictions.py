"""Predictions of every heuristic for a run's problems, stored beside its measurements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import CanaryRow, RunRow
from kswatch.db.records import FACTOR, PredictionRecord
from kswatch.db.store import Store
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.catalogue import HEURISTICS
from kswatch.profiler.empty_records import product_of


def record(store: Store, run_id: int) -> None:
    """Store the prediction of every heuristic for each problem of the run."""
    facts = _facts(store, queries.run(store, run_id), queries.canaries(store, run_id))
    keys = [key for key in store.run_problems(run_id) if key.subject == FACTOR]
    problems = [product_of(key) for key in keys]
    records = [
        PredictionRecord(key, heuristic.name, heuristic.version, one.predicts_fused, one.predicted_speedup)
        for heuristic in HEURISTICS
        for key, one in zip(keys, heuristic.predict_all(problems, facts), strict=True)
    ]
    store.record_predictions(run_id, records)


def _facts(store: Store, run: RunRow, canaries: Iterable[CanaryRow]) -> DeviceFacts:
    """The stored facts of the device, and the rates that its canaries reached in this run."""
    device = queries.find_device(store, run.device_uuid)
    rates = {f"{canary.name}_{canary.precision}_rate": canary.rate for canary in canaries}
    return {**device.facts, **asdict(device), **rates}

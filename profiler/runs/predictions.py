"""What every heuristic says of a run's problems, stored beside what happened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import CanaryRow, RunRow
from kswatch.db.records import PredictionRecord, ProblemKey
from kswatch.db.store import Store
from kswatch.kernels.heuristics import HEURISTICS
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem


def record(store: Store, run_id: int) -> None:
    """Ask every heuristic about each problem that the run holds, and store the answers."""
    facts = _facts(store, queries.run(store, run_id), queries.canaries(store, run_id))
    keys = store.run_problems(run_id)
    problems = [_problem(key) for key in keys]
    records = [
        PredictionRecord(key, heuristic.name, heuristic.version, said.predicts_fused, said.predicted_speedup)
        for heuristic in HEURISTICS
        for key, said in zip(keys, heuristic.predict_all(problems, facts), strict=True)
    ]
    store.record_predictions(run_id, records)


def _problem(key: ProblemKey) -> Problem:
    values = dict(vars(key))
    pattern = Pattern(*(values.pop(letter) for letter in "abcd"))
    return Problem(pattern, **values)


def _facts(store: Store, run: RunRow, canaries: Iterable[CanaryRow]) -> DeviceFacts:
    """What is stored of the device, and the rates that its canaries reached in this run."""
    device = queries.find_device(store, run.device_uuid)
    rates = {f"{canary.name}_{canary.precision}_rate": canary.rate for canary in canaries}
    return {**device.facts, **asdict(device), **rates}

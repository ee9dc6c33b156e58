"""A season of simulated nights, each judged by the real `judge`, and the resulting changes of alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.request import request_confirmation
from kswatch.ci.simulation.nights import START, NightSimulator, Plant
from kswatch.db.queries.basic import request, run
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.confirmation import ConfirmationRequest
from kswatch.db.store import Store


@dataclass(frozen=True)
class SimulatedAlertChange:
    """One change of an alert by a night's judgement."""

    night: int
    run: int
    alert: int
    news: str
    state: str
    confirmed: bool
    title: str


def simulate(
    store: Store,
    nights: int,
    plants: Sequence[Plant],
    config: CiConfig,
    seed: int = 0,
    progress: Callable[[int], None] = lambda night: None,
) -> list[SimulatedAlertChange]:
    """Record and judge these nights, confirming provisional alerts; returns the changes of alerts."""
    simulator = NightSimulator(store, plants, seed)
    events: list[SimulatedAlertChange] = []
    for night in range(nights):
        run_id = simulator.record_night(night)
        events += _judge(store, night, run_id, config)
        request_id = request_confirmation(store, run(store, run_id), config)
        if request_id is not None:  # measure the flagged cells again on the same night
            confirmation = ConfirmationRequest.from_arguments(request(store, request_id).arguments)
            problems = confirmation.problem if confirmation else ()
            requests.take(store, request_id)
            run_id = simulator.record_confirmation(night, problems, request_id)
            events += _judge(store, night, run_id, config)
            requests.finish(store, request_id, "done", f"run {run_id}")
        progress(night)
    return events


def _judge(store: Store, night: int, run_id: int, config: CiConfig) -> Iterator[SimulatedAlertChange]:
    result = judge(store, run_id, config, now=START + timedelta(days=night, hours=1))
    for change in (change for judgement in result.judgements for change in judgement.alerts):
        if change.transition is not None:
            alert = change.alert
            yield SimulatedAlertChange(
                night, run_id, alert.id, change.transition, alert.state, alert.confirmed, alert.title
            )

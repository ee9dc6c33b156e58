"""A season of simulated nights, each judged by the real `judge`: what the alerts would have been."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from kswatch.ci.alerts.update import ToldAlert
from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.request import ask_again
from kswatch.ci.simulation.nights import START, Plant, SimulatedNights
from kswatch.db.queries.basic import request, run
from kswatch.db.records import ProblemKey
from kswatch.db.request_queue import requests
from kswatch.db.store import Store


@dataclass(frozen=True)
class SimulatedNews:
    """What one night's judgement said of an alert."""

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
) -> list[SimulatedNews]:
    """Write and judge so many nights, measuring again what is provisional; gives the alerts' news."""
    simulated = SimulatedNights(store, plants, seed)
    news: list[SimulatedNews] = []
    for night in range(nights):
        run_id = simulated.night(night)
        news += _judged(store, night, run_id, config)
        asked = ask_again(store, run(store, run_id), config)
        if asked is not None:
            problems = [_problem(text) for text in _texts(store, asked)]
            requests.take(store, asked)
            confirming = simulated.again(night, problems, asked)
            news += _judged(store, night, confirming, config)
            requests.finish(store, asked, "done", f"run {confirming}")
        progress(night)
    return news


def _judged(store: Store, night: int, run_id: int, config: CiConfig) -> Iterator[SimulatedNews]:
    judged = judge(store, run_id, config, now=START + timedelta(days=night, hours=1))
    for told in (one for judgement in judged.judgements for one in judgement.alerts):
        if told.news is not None:
            yield _news(night, run_id, told)


def _news(night: int, run_id: int, told: ToldAlert) -> SimulatedNews:
    alert = told.alert
    return SimulatedNews(night, run_id, alert.id, str(told.news), alert.state, alert.confirmed, alert.title)


def _texts(store: Store, request_id: int) -> list[str]:
    return list(request(store, request_id).arguments["problem"])


def _problem(text: str) -> ProblemKey:
    *numbers, precision, layout = text.split(",")
    a, b, c, d, batch = map(int, numbers)
    return ProblemKey(a, b, c, d, batch, precision, layout)

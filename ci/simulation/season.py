"""Nights of known truth, each judged by the real `judge`, and the resulting changes of alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.confirmation.request import request_confirmation
from kswatch.db.queries.basic import request, run
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.confirmation import ConfirmationRequest
from kswatch.db.store import Store

START = datetime(2026, 1, 1, 2, tzinfo=UTC)
"""When the first night begins."""


class NightRecorder(Protocol):
    """Records nights in a store, and measures cells again where a confirmation is requested."""

    def record_night(self, night: int) -> int:
        """Record a whole night; returns its run id."""

    def record_confirmation(self, night: int, wanted: ConfirmationRequest, request_id: int) -> int | None:
        """Record the flagged cells, measured again on the same night.

        Returns:
            The id of the run to judge; None where nothing can be measured again.
        """


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


def time_of(night: int) -> datetime:
    """When a night begins."""
    return START + timedelta(days=night)


def judge_nights(
    store: Store,
    recorder: NightRecorder,
    nights: int,
    config: CiConfig,
    progress: Callable[[int], None] = lambda night: None,
) -> Iterator[SimulatedAlertChange]:
    """Record and judge these nights, confirming provisional alerts; yields the changes of alerts.

    A caller may act on an alert between two changes, as a user does.
    """
    for night in range(nights):
        run_id = recorder.record_night(night)
        yield from _judge(store, night, run_id, config)
        request_id = request_confirmation(store, run(store, run_id), config)
        if request_id is not None:
            yield from _confirm(store, recorder, night, request_id, config)
        progress(night)


def _confirm(
    store: Store, recorder: NightRecorder, night: int, request_id: int, config: CiConfig
) -> Iterator[SimulatedAlertChange]:
    wanted = ConfirmationRequest.from_arguments(request(store, request_id).arguments)
    requests.take(store, request_id)
    run_id = recorder.record_confirmation(night, wanted, request_id) if wanted else None
    if run_id is not None:
        yield from _judge(store, night, run_id, config)
    requests.finish(store, request_id, "done", f"run {run_id}")


def _judge(store: Store, night: int, run_id: int, config: CiConfig) -> Iterator[SimulatedAlertChange]:
    result = judge(store, run_id, config, now=time_of(night) + timedelta(hours=1))
    for change in (change for judgement in result.judgements for change in judgement.alerts):
        if change.transition is not None:
            alert = change.alert
            yield SimulatedAlertChange(
                night, run_id, alert.id, change.transition, alert.state, alert.confirmed, alert.title
            )

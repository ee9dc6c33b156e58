"""The requests behind `kswatch nightly`: the next start finishes a night that was killed.

All devices of one start are queued in one transaction, so that a kill loses none of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from kswatch.db.queries import basic as queries
from kswatch.db.queries.basic import RequestRow
from kswatch.db.records import CONFIRM
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.requests import RequestedRun
from kswatch.db.store import Store
from kswatch.errors import KswatchError
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.service.request_runner import requeue_if_abandoned

NIGHTLY: Final = "nightly"
"""The kind of a night's runs, and the name of the schedule's mark."""
COMMAND: Final = "kswatch nightly"
"""The user name of the requests of that command."""
SAME_NIGHT = timedelta(hours=12)
"""A start within this time of an unfinished night finishes it; a later one begins a night of its own."""
_STARTED_AT: Final = "night started at %Y-%m-%d %H:%M:%S UTC"
_MOST_REQUESTS = 1000
_log = logging.getLogger(__name__)

Night = dict[str, RequestRow]
"""The newest request of each device in one night, by its UUID."""


@dataclass(frozen=True)
class NightRequests:
    """The requests of one night by the UUID of their device."""

    queued: dict[str, int] = field(default_factory=dict)
    """The ids of those to take."""
    done: dict[str, RequestRow] = field(default_factory=dict)
    """Those that an earlier start of this night has finished."""
    taken: dict[str, RequestRow] = field(default_factory=dict)
    """Those that another process is measuring, or will measure."""


def request_night(
    store: Store,
    wanted: Mapping[str, RequestedRun],
    find_device: Callable[[str], Target],
    lease_s: float,
    now: datetime,
) -> NightRequests:
    """Queue these runs as one night, or take up the unfinished night that asked for the same.

    `wanted` has a run for the UUID of each device. An older unfinished night is cancelled.
    """
    nights = _earlier_nights(store, wanted, find_device)
    unfinished = [night for night in nights.values() if _is_unfinished(store, night, now)]
    found = NightRequests()
    for night in nights.values():
        continued = night in unfinished[:1]
        states = {uuid: _state(store, request, lease_s, now) for uuid, request in night.items()}
        for uuid, request in night.items():
            if "running" in states.values() and states[uuid] in ("queued", "running"):
                found.taken[uuid] = request
            elif continued and states[uuid] == "done":
                found.done[uuid] = request
            elif continued and states[uuid] == "queued":
                found.queued[uuid] = request.id
            elif states[uuid] == "queued":
                requests.finish(store, request.id, "cancelled", "a later night took its place")
    why = next((text for text, night in nights.items() if night in unfinished), now.strftime(_STARTED_AT))
    if unfinished:
        _log.warning("continues the %s", why)
    with store.writing() as session:
        for uuid in wanted.keys() - found.queued.keys() - found.done.keys() - found.taken.keys():
            found.queued[uuid] = requests.add(session, replace(wanted[uuid], why=why))
    return found


def _earlier_nights(
    store: Store, wanted: Mapping[str, RequestedRun], find_device: Callable[[str], Target]
) -> dict[str, Night]:
    """The nights of the command that measured the same, by what they are called, the newest first."""
    nights: dict[str, Night] = {}
    for request in queries.requests(store, limit=_MOST_REQUESTS):
        if request.asked_by != COMMAND or request.why is None:
            continue
        with suppress(KswatchError):  # its device is not here
            uuid = find_device(request.device).record.uuid
            run = wanted.get(uuid)
            if run and (run.suite, run.arguments) == (request.suite, request.arguments):
                nights.setdefault(request.why, {}).setdefault(uuid, request)
    return nights


def _is_unfinished(store: Store, night: Night, now: datetime) -> bool:
    """Whether a run, or the confirmation of one, is still to be measured of a night that is not long ago."""
    if all(now - request.asked_at > SAME_NIGHT for request in night.values()):
        return False
    if any(request.state in ("queued", "running") for request in night.values()):
        return True
    runs = {request.run_id for request in night.values()}
    waiting = queries.requests(store, states=("queued", "running"), limit=None)
    return any(one.kind == CONFIRM and one.arguments.get("of_run") in runs for one in waiting)


def _state(store: Store, request: RequestRow, lease_s: float, now: datetime) -> str:
    """The state of a request, once it is queued again where its process has ended."""
    return "queued" if requeue_if_abandoned(store, request, lease_s, now) else request.state

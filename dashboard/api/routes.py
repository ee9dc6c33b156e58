"""The routes of the JSON API (version 1), `/metrics` and `/healthz`. All are read-only.

`auth/machine_access.py` has admitted a request before it arrives here. Reads run in threads of their own, on
connections that cannot write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kswatch.dashboard.data.store import database_url, open_read_only
from kswatch.db.decoding import whole_number
from kswatch.db.json_text import to_json_text
from kswatch.db.machine_reads.prometheus import CONTENT_TYPE, prometheus_text
from kswatch.db.machine_reads.rows import alert_rows, run_rows, series_rows
from kswatch.db.queries.headline import headline
from kswatch.db.records import LAYOUTS, PRECISIONS
from kswatch.db.store import Store
from kswatch.errors import KswatchError, UsageError

MOST_ROWS, USUAL_ROWS = 1_000, 100
LONGEST_VALUE = 200
MOST_DIGITS = 9
MOST_READS = 4
"""At a time; others wait."""
NOT_CACHED = {"Cache-Control": "no-store"}

Read = Callable[[Store, Mapping[str, Any]], object]


def _integer(text: str) -> int:
    number = whole_number(text, MOST_DIGITS)
    if number is None:
        raise ValueError
    return number


def _rows(text: str) -> int:
    number = _integer(text)
    if not 1 <= number <= MOST_ROWS:
        raise ValueError
    return number


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _kinds(text: str) -> list[str]:
    return text.split(",")


def _precision(text: str) -> str:
    if text not in PRECISIONS:
        raise ValueError
    return text


def _layout(text: str) -> str:
    if text not in LAYOUTS:
        raise ValueError
    return text


KINDS: dict[Callable[[str], object], str] = {
    _integer: "a number",
    _rows: f"a number from 1 to {MOST_ROWS}",
    _flag: "true or false",
    _precision: " or ".join(PRECISIONS),
    _layout: " or ".join(LAYOUTS),
}
"""What a value must be, in words."""
FILTERS: dict[str, Callable[[str], object]] = {"device": str, "precision": _precision, "layout": _layout}
SERIES = FILTERS | {"metric": str, "pattern": str, "batch": _integer, "implementation": str, "limit": _rows}


def _runs(store: Store, given: Mapping[str, Any]) -> object:
    return run_rows(store, given.get("device"), given.get("kind"), given.get("limit", USUAL_ROWS))


def _alerts(store: Store, given: Mapping[str, Any]) -> object:
    return alert_rows(store, given.get("device"), given.get("all", False), given.get("limit", USUAL_ROWS))


def _series(store: Store, given: Mapping[str, Any]) -> object:
    if "device" not in given:
        raise UsageError("a series needs its device, as in ?device=cpu&metric=latency_ms")
    wanted: dict[str, Any] = {"metric": "latency_ms", "limit": USUAL_ROWS, **given}
    return series_rows(store, **wanted)


def _summary(store: Store, given: Mapping[str, Any]) -> object:
    named = {"run_id" if name == "run" else name: value for name, value in given.items()}
    return headline(store, named.pop("device", None), **named)


RESOURCES: dict[str, tuple[Read, dict[str, Callable[[str], object]]]] = {
    "runs": (_runs, {"device": str, "kind": _kinds, "limit": _rows}),
    "series": (_series, SERIES),
    "alerts": (_alerts, {"device": str, "all": _flag, "limit": _rows}),
    "summary": (_summary, FILTERS | {"run": _integer, "metric": str, "baselines": str}),
}
"""By name: how it is read, and its parameters."""


def routes() -> list[Route]:
    """The routes, in the order of their paths."""
    return [
        Route("/healthz", _health),
        Route("/metrics", _metrics),
        Route("/api/v1", _index),
        *(Route(f"/api/v1/{name}", _resource(name)) for name in RESOURCES),
    ]


async def _health(request: Request) -> Response:
    del request
    return PlainTextResponse("ok\n", headers=NOT_CACHED)


async def _metrics(request: Request) -> Response:
    del request
    return await _answer(lambda store: prometheus_text(store, datetime.now(UTC)), CONTENT_TYPE)


async def _index(request: Request) -> Response:
    del request
    parameters = {name: sorted(known) for name, (_, known) in RESOURCES.items()}
    return _json({"version": 1, "resources": parameters})


def _resource(name: str) -> Callable[[Request], Any]:
    read, known = RESOURCES[name]

    async def resource(request: Request) -> Response:
        try:
            given = _parameters(request, known)
        except UsageError as error:
            return _json({"error": str(error)}, 400)
        return await _answer(lambda store: to_json_text(read(store, given)), "application/json")

    return resource


def _parameters(request: Request, known: Mapping[str, Callable[[str], object]]) -> dict[str, object]:
    """The parameters of the query, each once, of known names and forms.

    Raises:
        UsageError: one is unknown, repeated, too long or of another form.
    """
    found: dict[str, object] = {}
    for name, text in request.query_params.multi_items():
        if name not in known:
            raise UsageError(f"unknown parameter {name[:60]!r}; known: {', '.join(sorted(known))}")
        if name in found or len(text) > LONGEST_VALUE:
            raise UsageError(f"{name}: give it once, with at most {LONGEST_VALUE} characters")
        if not text or not text.isprintable():
            raise UsageError(f"{name} is empty, or holds a control character; omit it or give a value")
        try:
            found[name] = known[name](text)
        except ValueError:
            raise UsageError(f"{name} = {text[:60]!r} must be {KINDS[known[name]]}") from None
    return found


async def _answer(read: Callable[[Store], str], media_type: str) -> Response:
    """What `read` gives, or its failure as one sentence."""
    try:
        async with _reading:
            text = await run_in_threadpool(lambda: read(_store(database_url())))
    except UsageError as error:
        return _json({"error": str(error)}, 400)
    except KswatchError as error:  # a store that is absent, busy or damaged
        return _json({"error": str(error)}, 503)
    return Response(text, media_type=media_type, headers=NOT_CACHED)


_store = cache(open_read_only)
_reading = asyncio.Semaphore(MOST_READS)
"""A large answer takes memory and time: the pages, which read in the same process, must not wait for many."""


def _json(value: object, status: int = 200) -> Response:
    return Response(to_json_text(value), status, NOT_CACHED, "application/json")

"""Access for programs: a bearer token, exactly these paths and methods, a limited rate.

Paths that are not in the list but begin like one are refused even to signed-in users: no page of
the application answers in their place.
"""

from __future__ import annotations

import asyncio
import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response

from kswatch.dashboard.auth.attempts import Attempts, Network, client_of
from kswatch.dashboard.auth.settings import Tokens
from kswatch.db.decoding import whole_number

READ_METHODS = ("GET", "HEAD")
OPEN_PATHS = frozenset({"/healthz"})
"""Without a token, since they hold no data."""
READ_PATHS = frozenset(
    {"/metrics", "/api/v1", *(f"/api/v1/{name}" for name in ("runs", "series", "alerts", "summary"))}
)
AGENT_PATHS: Mapping[str, tuple[str, ...]] = {
    "/_stcore/agent/openapi.json": READ_METHODS,
    "/_stcore/agent/interact": ("POST",),
    "/_stcore/agent/mcp": ("POST",),
}
"""Of Streamlit's agent API, which runs pages without a user, so that nothing can be changed through it."""
_PROGRAM_PATHS = re.compile(r"/+(healthz|metrics|api|_stcore/+agent)(/|$)")
PER_MINUTE = 120
BURST = 40
MOST_CLIENTS = 10_000
LARGEST_BODY_BYTES = 1_000_000


class RateLimit:
    """Requests of each client: `BURST` at once, `PER_MINUTE` in the long run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, client: str) -> float:
        """0 where the client may ask now; else the seconds until it may."""
        now = self._clock()
        with self._lock:
            left, since = self._left.pop(client, (float(BURST), now))
            left = min(left + (now - since) * PER_MINUTE / 60, float(BURST))
            admitted = left >= 1
            self._left[client] = left - admitted, now
            while len(self._left) > MOST_CLIENTS:
                self._left.popitem(last=False)
        return 0.0 if admitted else (1 - left) * 60 / PER_MINUTE


class MachineAccess:
    """Decides on requests of programs.

    Args:
        tokens: Any of them reads; None where users do not sign in either, on loopback alone.
        is_closed: Refuse the data without exception: users sign in, but not by tokens.
        agent_api: Whether the paths of the agent API are served.
        trusted_proxies: As for sign-ins.
    """

    def __init__(
        self,
        tokens: Tokens | None,
        *,
        is_closed: bool = False,
        agent_api: bool = False,
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self._tokens, self._is_closed, self._agent_api = tokens, is_closed, agent_api
        self._trusted_proxies = trusted_proxies
        self._attempts, self._rate = Attempts(), RateLimit()

    @staticmethod
    def is_responsible(path: str) -> bool:
        """Whether a path is one of a program's, or begins like one."""
        return _PROGRAM_PATHS.match(path) is not None

    async def refusal(self, connection: HTTPConnection) -> Response | None:
        """The answer to a request that is not passed on; None where it is."""
        path, method = connection.scope["path"], connection.scope.get("method", "")
        methods = READ_METHODS if path in OPEN_PATHS | READ_PATHS else self._agent_methods(path)
        if methods is None:
            return _error(404, "there is no such path; /api/v1 lists what there is")
        if method not in methods:
            return _error(405, f"{path} answers {' and '.join(methods)} only", Allow=", ".join(methods))
        if path in OPEN_PATHS:
            return None
        if connection.headers.get("origin") is not None:
            return _error(403, "programs send no Origin; a page of another site may not ask")
        if _is_too_large(connection):
            return _error(413, f"a request has at most {LARGEST_BODY_BYTES:,} bytes")
        client = self._client(connection)
        wait_s = self._rate.wait_s(client)
        if wait_s:
            return _error(429, "too many requests", **{"Retry-After": str(math.ceil(wait_s))})
        return await self._token_refusal(connection, client)

    def _agent_methods(self, path: str) -> tuple[str, ...] | None:
        return AGENT_PATHS.get(path) if self._agent_api else None

    async def _token_refusal(self, connection: HTTPConnection, client: str) -> Response | None:
        if self._is_closed:
            return _error(403, "programs read by a token; this dashboard has sign-in by OpenID Connect")
        if self._tokens is None:
            return None
        given = _bearer(connection)
        if given is not None and self._tokens.right_of(given) is not None:
            return None
        if given is not None and not await self._delay_failure(client):
            return _error(429, "too many requests at a time", **{"Retry-After": "5"})
        problem = "no bearer token" if given is None else "unknown token"
        return _error(401, f"{problem}; send `Authorization: Bearer TOKEN`", **{"WWW-Authenticate": "Bearer"})

    async def _delay_failure(self, client: str) -> bool:
        """Delay the answer to a wrong token, the longer the more there were; False where too many wait."""
        self._attempts.add_failure(client, "")
        with self._attempts.waiting(client) as admitted:
            if admitted:
                await asyncio.sleep(self._attempts.delay_s(client, ""))
        return admitted

    def _client(self, connection: HTTPConnection) -> str:
        peer = connection.client.host if connection.client else ""
        forwarded = ",".join(connection.headers.getlist("x-forwarded-for"))
        return client_of(peer, forwarded, self._trusted_proxies)


def _bearer(connection: HTTPConnection) -> str | None:
    """The token of the one Authorization header; None where there is none, or two."""
    given = connection.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _is_too_large(connection: HTTPConnection) -> bool:
    """Whether the request announces a large body, or does not announce its length."""
    length = whole_number(connection.headers.get("content-length", "0"))
    return length is None or length > LARGEST_BODY_BYTES or "transfer-encoding" in connection.headers


def _error(status: int, message: str, **headers: str) -> Response:
    return JSONResponse({"error": message}, status, headers | {"Cache-Control": "no-store"})


def without_cookies(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of a program's request: a user's cookie must not lend it the user's rights."""
    return [(name, value) for name, value in headers if name.lower() != b"cookie"]

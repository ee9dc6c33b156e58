"""The guard before every endpoint, the websocket and media included: no cookie, no answer.

A check inside a page would protect none of them: Streamlit serves files and opens websockets before
a page's script has run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kswatch.dashboard.auth.providers import Door
from kswatch.dashboard.auth.settings import LOOPBACK_NAMES

SAFE_METHODS = frozenset({"GET", "HEAD"})
POLICY_VIOLATION = 1008

HEADERS: dict[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class Guard:
    """ASGI middleware: lets through who may come in, tells others how to, and dresses every answer.

    Args:
        app: what is guarded.
        door: who may come in.
        hosts: names under which it may be reached; None where any name is right, since visitors sign in.
        content_policy: what the browser may load and run on pages that bring no policy of their own.
    """

    def __init__(self, app: ASGIApp, door: Door, hosts: frozenset[str] | None, content_policy: str) -> None:
        self._app, self._door, self._hosts = app, door, hosts
        self._headers = HEADERS | {"Content-Security-Policy": content_policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or websocket, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._refusal(connection)
        if scope["type"] == "websocket":
            await self._websocket(connection, refusal, receive, send)
        else:
            answer = refusal or self._app
            await answer(scope, receive, self._dressed(send))

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        """Why this is not let through; None where it is."""
        if self._hosts is not None and _host_name(connection) not in self._hosts:
            return PlainTextResponse("this dashboard is not known under that name", 400)
        method, path = connection.scope.get("method", "GET"), connection.url.path
        changes = method not in SAFE_METHODS
        if (changes or connection.scope["type"] == "websocket") and not _same_origin(connection):
            return PlainTextResponse("refused: this came from another site", 403)
        if changes and path not in ("/sign-in", "/sign-out"):
            return PlainTextResponse("refused: nothing is uploaded or changed here", 403)
        if path in self._door.open_paths:
            return None
        if self._door.visitor(connection.cookies):
            return self._door.welcome(connection)
        if "text/html" in connection.headers.get("accept", ""):
            return self._door.refusal(connection)
        return PlainTextResponse("not signed in", 401)

    async def _websocket(
        self, connection: HTTPConnection, refusal: Response | None, receive: Receive, send: Send
    ) -> None:
        if refusal or connection.url.path in self._door.open_paths:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        await self._app(connection.scope, self._until_signed_out(connection, receive, send), send)

    def _until_signed_out(self, connection: HTTPConnection, receive: Receive, send: Send) -> Receive:
        """What the browser says, for as long as its visitor is signed in."""

        async def heard() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and not self._door.visitor(connection.cookies):
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
                return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return message

        return heard

    def _dressed(self, send: Send) -> Callable[[Message], Awaitable[None]]:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        return dressed


def allowed_hosts(hosts: tuple[str, ...], is_local: bool) -> frozenset[str] | None:
    """The names under which the dashboard answers: this machine's and the configured ones.

    On loopback another name means that a site has pointed its own name here (DNS rebinding).
    """
    return LOOPBACK_NAMES | frozenset(map(str.lower, hosts)) if hosts or is_local else None


def _host_name(connection: HTTPConnection) -> str:
    return (urlsplit(f"//{connection.headers.get('host', '')}").hostname or "").lower()


def _same_origin(connection: HTTPConnection) -> bool:
    """Whether it came from a page of ours; programs, which send no origin, hold no one else's cookies."""
    origin = connection.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == connection.headers.get("host")

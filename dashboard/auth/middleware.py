"""The middleware before every endpoint, the websocket and media included: no cookie, no answer.

A check inside a page would protect none of them: Streamlit serves files and opens websockets before
a page's script has run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

from h11 import LocalProtocolError
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kswatch.dashboard.auth.machine_access import MachineAccess, without_cookies
from kswatch.dashboard.auth.providers import AuthProvider
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


class AuthMiddleware:
    """ASGI middleware: passes on authenticated requests, refuses others, adds security headers to all.

    Args:
        app: the application behind it.
        provider: of the authentication.
        hosts: names that it may be reached by; None for any name, where users sign in.
        content_policy: what the browser may load and run on pages that bring no policy of their own.
        machine_access: decides on the paths of programs.
    """

    def __init__(
        self,
        app: ASGIApp,
        provider: AuthProvider,
        hosts: frozenset[str] | None,
        content_policy: str,
        machine_access: MachineAccess,
    ) -> None:
        self._app, self._provider, self._hosts = app, provider, hosts
        self._machine_access = machine_access
        self._headers = HEADERS | {"Content-Security-Policy": content_policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or websocket, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if scope["type"] == "websocket":
            await self._websocket(connection, self._refusal(connection), receive, send)
        else:
            if self._machine_access.is_responsible(scope["path"]):
                refusal = self._unknown_host(connection) or await self._machine_access.refusal(connection)
                scope = {**scope, "headers": without_cookies(scope["headers"])}
            else:
                refusal = self._refusal(connection)
            answer = refusal or self._app
            with suppress(ClientDisconnect):  # no one waits for the answer
                await answer(scope, receive, self._with_security_headers(send))

    def _unknown_host(self, connection: HTTPConnection) -> Response | None:
        """The answer to a request under a name that is not served; None where it is."""
        host = _host_name(connection)
        if not host or (self._hosts is not None and host not in self._hosts):
            return PlainTextResponse("this dashboard does not serve that host name", 400)
        return None

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        """The answer to a request that is not passed on; None where it is."""
        if unknown := self._unknown_host(connection):
            return unknown
        # The path as the server routes it: a URL would be made of the Host header, which the client writes.
        method, path = connection.scope.get("method", "GET"), connection.scope["path"]
        changes = method not in SAFE_METHODS
        if (changes or connection.scope["type"] == "websocket") and not _same_origin(connection):
            return PlainTextResponse("refused: this came from another site", 403)
        if changes and path not in ("/sign-in", "/sign-out"):
            return PlainTextResponse("refused: nothing is uploaded or changed here", 403)
        if path in self._provider.open_paths:
            return None
        if self._provider.authenticate(connection.cookies):
            return self._provider.redirect_signed_in(connection)
        if "text/html" in connection.headers.get("accept", ""):
            return self._provider.refusal(connection)
        return PlainTextResponse("not signed in", 401)

    async def _websocket(
        self, connection: HTTPConnection, refusal: Response | None, receive: Receive, send: Send
    ) -> None:
        path = connection.scope["path"]
        if refusal or path in self._provider.open_paths or self._machine_access.is_responsible(path):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        await self._app(connection.scope, self._until_signed_out(connection, receive, send), send)

    def _until_signed_out(self, connection: HTTPConnection, receive: Receive, send: Send) -> Receive:
        """The browser's messages, for as long as its user is signed in."""

        async def receive_signed_in() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and not self._provider.authenticate(connection.cookies):
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
                return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return message

        return receive_signed_in

    def _with_security_headers(self, send: Send) -> Callable[[Message], Awaitable[None]]:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            with suppress(LocalProtocolError):  # the server has refused the rest of a malformed request
                await send(message)

        return send_with_headers


def allowed_hosts(hosts: tuple[str, ...], is_local: bool) -> frozenset[str] | None:
    """The host names that the dashboard serves: this machine's and the configured ones.

    On loopback any other name means that a site resolves its own name to this machine (DNS rebinding).
    """
    return LOOPBACK_NAMES | frozenset(map(str.lower, hosts)) if hosts or is_local else None


def _host_name(connection: HTTPConnection) -> str:
    """The name in the Host header, without its port; empty where there is none, two, or no valid one."""
    hosts = connection.headers.getlist("host")
    return (_hostname(f"//{hosts[0]}") or "").lower() if len(hosts) == 1 else ""


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _same_origin(connection: HTTPConnection) -> bool:
    """Whether it came from a page of this server; programs, which send no origin, hold no user's cookies."""
    origins = connection.headers.getlist("origin")
    if not origins:
        return True
    try:
        return len(origins) == 1 and urlsplit(origins[0]).netloc == connection.headers.get("host")
    except ValueError:
        return False

"""Sign in by a token: it goes in by a form, into a cookie that no script reads, never into an address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from kswatch.dashboard.auth import pages as sign_in_pages
from kswatch.dashboard.auth.providers import Door, ask_before_signing_out, own_path, redirect, wanted_page
from kswatch.dashboard.auth.sessions import LASTS_S, Clock, Failures, Sessions, Visitor
from kswatch.dashboard.auth.settings import Tokens

COOKIE = "kswatch_session"
LARGEST_FORM_BYTES = 8_192
LONGEST_NAME = 80


class TokenDoor(Door):
    """Whoever knows a token is let in, under the name that they give."""

    open_paths = frozenset({"/sign-in"})

    def __init__(self, tokens: Tokens, clock: Clock | None = None) -> None:
        clocks = {"clock": clock} if clock else {}
        self._tokens, self._sessions, self._failures = tokens, Sessions(**clocks), Failures(**clocks)

    def visitor(self, cookies: Mapping[str, str]) -> Visitor | None:
        """Whose cookie this is."""
        secret = cookies.get(COOKIE)
        return self._sessions.visitor(secret) if secret else None

    def refusal(self, connection: HTTPConnection) -> Response:
        """The form, which leads back to what was asked for."""
        return sign_in_pages.token_form(wanted_page(connection))

    def routes(self) -> list[Route]:
        """The form, what it sends, and the way out."""
        return [
            Route("/sign-in", self._form, methods=["GET"]),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", ask_before_signing_out, methods=["GET"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
        ]

    async def _form(self, request: Request) -> Response:
        del request
        return sign_in_pages.token_form("/", status=200)

    async def _sign_in(self, request: Request) -> Response:
        given = await _read_form(request)
        wanted, name = own_path(given.get("next", "/")), given.get("name", "").strip()[:LONGEST_NAME]
        address = request.client.host if request.client else ""
        wait_s = self._failures.wait_s(address)
        if wait_s > 0:
            told = f"Too many attempts from {address}; try again in {math.ceil(wait_s / 60)} minutes."
            refused = sign_in_pages.token_form(wanted, told, 429)
            refused.headers["Retry-After"] = str(math.ceil(wait_s))
            return refused
        right = self._tokens.right_of(given.get("token", ""))
        if right is None:
            self._failures.add(address)
            return sign_in_pages.token_form(wanted, "This token is not known.")
        if not name:
            return sign_in_pages.token_form(wanted, "Give your name: it stands beside what you do.", 400)
        welcome = redirect(wanted)
        secret = self._sessions.begin(Visitor(name, may_act=right))
        welcome.set_cookie(
            COOKIE, secret, max_age=int(LASTS_S), httponly=True, samesite="lax", secure=_is_encrypted(request)
        )
        return welcome

    async def _sign_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(COOKIE, ""))
        gone = redirect("/")
        gone.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=_is_encrypted(request))
        return gone


async def _read_form(request: Request) -> dict[str, str]:
    """The form's fields; empty where more was sent than the form can hold."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM_BYTES:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[-1] for name, values in fields.items()}


def _is_encrypted(request: Request) -> bool:
    """Whether the browser came by HTTPS, to us or to a proxy before us."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))

"""Sign-in by a token: sent by a form, kept as a session cookie that no script reads, never in an address."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from kswatch.dashboard.auth import pages as sign_in_pages
from kswatch.dashboard.auth.attempts import MOST_DELAY_S, Attempts, Network, client_of
from kswatch.dashboard.auth.providers import (
    AuthProvider,
    confirm_sign_out,
    local_path,
    redirect,
    requested_page,
)
from kswatch.dashboard.auth.sessions import SESSION_LIFETIME_S, Sessions, User
from kswatch.dashboard.auth.settings import Tokens

COOKIE = "kswatch_session"
LARGEST_FORM_BYTES = 8_192
LONGEST_NAME = 80
MOST_FIELDS = 10


class TokenAuth(AuthProvider):
    """Signs in users who know a token, under the name that they give."""

    open_paths = frozenset({"/sign-in"})

    def __init__(self, tokens: Tokens, trusted_proxies: Sequence[Network] = ()) -> None:
        self._tokens, self._sessions, self._attempts = tokens, Sessions(), Attempts()
        self._trusted_proxies = trusted_proxies

    def authenticate(self, cookies: Mapping[str, str]) -> User | None:
        """The user of the session cookie."""
        secret = cookies.get(COOKIE)
        return self._sessions.find(secret) if secret else None

    def refusal(self, connection: HTTPConnection) -> Response:
        """The form, which leads back to the requested page."""
        return sign_in_pages.token_form(requested_page(connection))

    def routes(self) -> list[Route]:
        """The form, its submission, and the sign-out."""
        return [
            Route("/sign-in", self._form, methods=["GET"]),
            Route("/sign-in", self._sign_in, methods=["POST"]),
            Route("/sign-out", confirm_sign_out, methods=["GET"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
        ]

    async def _form(self, request: Request) -> Response:
        del request
        return sign_in_pages.token_form("/", status=200)

    async def _sign_in(self, request: Request) -> Response:
        given = await _read_form(request)
        next_page = local_path(given.get("next", "/"))
        name = given.get("name", "").strip()[:LONGEST_NAME]
        client = self._client(request)
        with self._attempts.waiting(client) as admitted:
            if not admitted:
                error = "Too many attempts at a time; try again in a few seconds."
                refused = sign_in_pages.token_form(next_page, error, 429)
                refused.headers["Retry-After"] = str(math.ceil(MOST_DELAY_S))
                return refused
            await asyncio.sleep(self._attempts.delay_s(client, name))
        right = self._tokens.right_of(given.get("token", ""))
        if right is None:
            self._attempts.add_failure(client, name)
            return sign_in_pages.token_form(next_page, "Unknown token.")
        if not name:
            return sign_in_pages.token_form(
                next_page, "A name is required; it is recorded with every action.", 400
            )
        response = redirect(next_page)
        secret = self._sessions.begin(User(name, may_act=right))
        response.set_cookie(
            COOKIE,
            secret,
            max_age=int(SESSION_LIFETIME_S),
            httponly=True,
            samesite="lax",
            secure=_is_encrypted(request),
        )
        return response

    def _client(self, request: Request) -> str:
        peer = request.client.host if request.client else ""
        forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
        return client_of(peer, forwarded, self._trusted_proxies)

    async def _sign_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(COOKIE, ""))
        response = redirect("/")
        response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=_is_encrypted(request))
        return response


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of the form; empty where the body is larger, or has more fields, than the form can have."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM_BYTES:
            return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in fields.items()}


def _is_encrypted(request: Request) -> bool:
    """Whether the connection uses HTTPS, to this server or to a proxy before it."""
    return "https" in (request.scope.get("scheme"), request.headers.get("x-forwarded-proto", ""))

"""Sign-in by a token: sent by a form, kept as a session cookie that no script reads, never in an address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from kswatch.dashboard.auth import pages as sign_in_pages
from kswatch.dashboard.auth.providers import (
    AuthProvider,
    confirm_sign_out,
    local_path,
    redirect,
    requested_page,
)
from kswatch.dashboard.auth.sessions import SESSION_LIFETIME_S, FailedAttempts, Sessions, User
from kswatch.dashboard.auth.settings import Tokens

COOKIE = "kswatch_session"
LARGEST_FORM_BYTES = 8_192
LONGEST_NAME = 80


class TokenAuth(AuthProvider):
    """Signs in users who know a token, under the name that they give."""

    open_paths = frozenset({"/sign-in"})

    def __init__(self, tokens: Tokens) -> None:
        self._tokens, self._sessions, self._failures = tokens, Sessions(), FailedAttempts()

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
        address = request.client.host if request.client else ""
        wait_s = self._failures.wait_s(address)
        if wait_s > 0:
            error = f"Too many attempts from {address}; try again in {math.ceil(wait_s / 60)} minutes."
            refused = sign_in_pages.token_form(next_page, error, 429)
            refused.headers["Retry-After"] = str(math.ceil(wait_s))
            return refused
        right = self._tokens.right_of(given.get("token", ""))
        if right is None:
            self._failures.add(address)
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

    async def _sign_out(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(COOKIE, ""))
        response = redirect("/")
        response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=_is_encrypted(request))
        return response


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of the form; empty where the body is larger than the form can be."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM_BYTES:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    return {name: values[-1] for name, values in fields.items()}


def _is_encrypted(request: Request) -> bool:
    """Whether the connection uses HTTPS, to this server or to a proxy before it."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))

"""The ways in: an open door, tokens, or an OpenID Connect provider; each tells a visitor by their cookies."""

from __future__ import annotations

import getpass
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from kswatch.dashboard.auth import pages as sign_in_pages
from kswatch.dashboard.auth.sessions import Visitor
from kswatch.dashboard.auth.settings import Access

SEE_OTHER = 303


class Door(ABC):
    """A way in."""

    open_paths: frozenset[str] = frozenset()
    """What is answered to everyone: where one signs in."""

    @abstractmethod
    def visitor(self, cookies: Mapping[str, str]) -> Visitor | None:
        """Who has these cookies; None for nobody who was let in."""

    @abstractmethod
    def refusal(self, connection: HTTPConnection) -> Response:
        """What somebody without a right is told who opens a page: how to sign in."""

    def welcome(self, connection: HTTPConnection) -> Response | None:
        """Where somebody who was let in is sent instead of what they asked for; None where nowhere."""
        del connection
        return None

    def routes(self) -> list[Route]:
        """Where one signs in and out."""
        return []

    def secrets(self) -> dict[str, Any] | None:
        """What Streamlit itself must know to sign people in."""
        return None


class OpenDoor(Door):
    """Nobody is asked: only for this machine's own loopback address."""

    def visitor(self, cookies: Mapping[str, str]) -> Visitor:
        """Whoever runs the dashboard, by a name that pages let them change."""
        del cookies
        return Visitor(_user(), may_act=True, signed_in=False)

    def refusal(self, connection: HTTPConnection) -> Response:
        """Never shown."""
        del connection
        return PlainTextResponse("not signed in", 401)


def door(access: Access) -> Door:
    """The way in that is demanded.

    Raises:
        ConfigurationError: a provider is set but the extra `auth` is not installed.
    """
    if access.tokens:
        from kswatch.dashboard.auth.token_auth import TokenDoor

        return TokenDoor(access.tokens)
    if access.oidc:
        from kswatch.dashboard.auth.oidc import OidcDoor

        return OidcDoor(access.oidc)
    return OpenDoor()


def wanted_page(connection: HTTPConnection) -> str:
    """The page that was asked for, with its choices, as a path of this host."""
    query = connection.url.query
    return connection.url.path + (f"?{query}" if query else "")


def own_path(text: str) -> str:
    """The text where it is a path of this host, else `/`: a form must not send people elsewhere."""
    elsewhere = not text.startswith("/") or text.startswith(("//", "/\\"))
    return "/" if elsewhere or any(ord(character) < 32 for character in text) else text


def redirect(path: str) -> RedirectResponse:
    """Go there, by GET."""
    return RedirectResponse(path, SEE_OTHER, {"Cache-Control": "no-store"})


async def ask_before_signing_out(request: Request) -> Response:
    """The form at /sign-out."""
    del request
    return sign_in_pages.sign_out_form()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name behind this user id
        return ""

"""What every authentication provider offers, and the provider of a dashboard without sign-in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from kswatch.dashboard.auth import pages as sign_in_pages
from kswatch.dashboard.auth.sessions import User
from kswatch.db.user_name import user_name

SEE_OTHER = 303


class AuthProvider(ABC):
    """A way to sign in."""

    open_paths: frozenset[str] = frozenset()
    """Paths that need no sign-in: those of the sign-in itself."""

    @abstractmethod
    def authenticate(self, cookies: Mapping[str, str]) -> User | None:
        """The user of these cookies; None without a session."""

    @abstractmethod
    def refusal(self, connection: HTTPConnection) -> Response:
        """The page for a browser without a session: how to sign in."""

    def redirect_signed_in(self, connection: HTTPConnection) -> Response | None:
        """A redirect for a signed-in user instead of the requested page; None where none is due."""
        del connection
        return None

    def routes(self) -> list[Route]:
        """The routes to sign in and out."""
        return []

    def secrets(self) -> dict[str, Any] | None:
        """The secrets that Streamlit itself needs to sign users in."""
        return None


class NoAuth(AuthProvider):
    """No sign-in: only for this machine's own loopback address."""

    def authenticate(self, cookies: Mapping[str, str]) -> User:
        """The user who runs the dashboard; pages let them change the name."""
        del cookies
        return User(user_name(""), may_act=True, signed_in=False)

    def refusal(self, connection: HTTPConnection) -> Response:
        """Never shown."""
        del connection
        return PlainTextResponse("not signed in", 401)


def requested_page(connection: HTTPConnection) -> str:
    """The requested page with its query, as a path of this host."""
    path, query = quote(connection.scope["path"], safe="/@:+"), connection.scope.get("query_string", b"")
    return path + (f"?{query.decode('latin-1')}" if query else "")


def local_path(text: str) -> str:
    """The text where it is a path of this host, else `/`: a form must not redirect to another site."""
    foreign = not text.startswith("/") or text.startswith(("//", "/\\"))
    return "/" if foreign or any(ord(character) < 32 for character in text) else text


def redirect(path: str) -> RedirectResponse:
    """A redirect to a path, by GET."""
    return RedirectResponse(path, SEE_OTHER, {"Cache-Control": "no-store"})


async def confirm_sign_out(request: Request) -> Response:
    """The form at /sign-out."""
    del request
    return sign_in_pages.sign_out_form()

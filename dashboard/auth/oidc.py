"""Sign-in by an OpenID Connect provider, through the routes of Streamlit's own `st.login`."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit.auth_util import encode_provider_token, get_cookie_with_chunks
from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from kswatch.dashboard.auth import pages as sign_in_pages
from kswatch.dashboard.auth.providers import (
    AuthProvider,
    confirm_sign_out,
    local_path,
    redirect,
    requested_page,
)
from kswatch.dashboard.auth.sessions import SESSION_LIFETIME_S, User
from kswatch.dashboard.auth.settings import OidcSettings
from kswatch.errors import ConfigurationError

PROVIDER = "default"
NEXT_PAGE_COOKIE = "kswatch_wanted"
SIGN_IN_WITHIN_S = 600


class OidcAuth(AuthProvider):
    """Signs in users whom the provider authenticates and a list names, under their e-mail address."""

    open_paths = frozenset({"/sign-in", "/sign-out", "/auth/login", "/auth/logout", "/oauth2callback"})

    def __init__(self, settings: OidcSettings) -> None:
        if find_spec("authlib") is None:
            raise ConfigurationError("sign-in by OpenID Connect needs Authlib; install kswatch[auth]")
        self._settings = settings
        self._cookie_secret = secrets.token_urlsafe(32)
        self._ended: OrderedDict[bytes, float] = OrderedDict()

    def authenticate(self, cookies: Mapping[str, str]) -> User | None:
        """The user whom the provider authenticated, where a list names them."""
        address = self._address(cookies)
        right = self._settings.right_of(address) if address else None
        return User(address, may_act=right) if address and right is not None else None

    def refusal(self, connection: HTTPConnection) -> Response:
        """The link to the provider, or the refusal of a user whom no list names."""
        address = self._address(connection.cookies)
        if address:
            return sign_in_pages.not_permitted(address)
        response = sign_in_pages.provider_link()
        response.set_cookie(
            NEXT_PAGE_COOKIE,
            quote(requested_page(connection)),
            SIGN_IN_WITHIN_S,
            httponly=True,
            samesite="lax",
        )
        return response

    def redirect_signed_in(self, connection: HTTPConnection) -> Response | None:
        """A redirect to the page requested before signing in: the provider leads to the first page."""
        next_page = connection.cookies.get(NEXT_PAGE_COOKIE)
        if next_page is None or connection.scope["path"] != "/":
            return None
        response = redirect(local_path(unquote(next_page)))
        response.delete_cookie(NEXT_PAGE_COOKIE, httponly=True, samesite="lax")
        return response

    def routes(self) -> list[Route]:
        """The routes to the provider and to sign out; Streamlit has the rest."""
        return [
            Route("/sign-in", self._to_provider, methods=["GET"]),
            Route("/sign-out", confirm_sign_out, methods=["GET"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
        ]

    def secrets(self) -> dict[str, Any]:
        """Streamlit's [auth] section; the cookie key is new with each start, which signs all users out."""
        settings = self._settings
        return {
            "auth": {
                "redirect_uri": settings.redirect_uri,
                "cookie_secret": self._cookie_secret,
                "client_id": settings.client_id,
                "client_secret": settings.client_secret,
                "server_metadata_url": settings.metadata_url,
            }
        }

    def _address(self, cookies: Mapping[str, str]) -> str | None:
        """The e-mail address in Streamlit's signed cookie; None where expired, ended or not verified."""
        packed = self._signed_content(cookies)
        user = _user(packed)
        uri = urlsplit(self._settings.redirect_uri)
        valid = (
            user.get("is_logged_in") is True
            and user.get("origin") == f"{uri.scheme}://{uri.netloc}"
            # false where a provider lets users claim any address without checking it
            and user.get("email_verified", True) is True
            and time.time() - _issued_at(user) < SESSION_LIFETIME_S
            and sha256(packed).digest() not in self._ended
        )
        return str(user["email"]) if valid and user.get("email") else None

    def _signed_content(self, cookies: Mapping[str, str]) -> bytes:
        """The content of the cookie; empty without a valid signature.

        Signatures have unused bits, so that several cookies are valid for one content.
        """

        def signed_value(name: str) -> bytes | None:
            value = cookies.get(name)
            if not value:
                return None
            return decode_signed_value(self._cookie_secret, name, value.encode("latin-1", "replace"))

        return get_cookie_with_chunks(signed_value, USER_COOKIE_NAME) or b""

    async def _to_provider(self, request: Request) -> Response:
        del request
        return redirect(f"/auth/login?provider={quote(encode_provider_token(PROVIDER))}")

    async def _sign_out(self, request: Request) -> Response:
        """End the session of the cookie, copies of it included, then sign out at the provider."""
        if self._address(request.cookies):  # made-up cookies are not kept: they would push others out
            self._end(self._signed_content(request.cookies))
        return redirect("/auth/logout")

    def _end(self, content: bytes) -> None:
        now_s = time.monotonic()
        self._ended[sha256(content).digest()] = now_s
        while now_s - next(iter(self._ended.values())) > SESSION_LIFETIME_S:
            self._ended.popitem(last=False)  # its cookie has expired


def _user(packed: bytes) -> dict[str, Any]:
    try:
        user = json.loads(packed) if packed else {}
    except ValueError:
        return {}
    return user if isinstance(user, dict) else {}


def _issued_at(user: Mapping[str, Any]) -> float:
    """When the provider signed the user in, in seconds since 1970; 0 where that is unknown."""
    try:
        issued = float(user.get("iat", 0))
    except (TypeError, ValueError):
        return 0.0
    return issued if math.isfinite(issued) else 0.0

"""Sign in by an OpenID Connect provider: Streamlit's own `st.login` routes, with a guard before them."""

from __future__ import annotations

import json
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
from kswatch.dashboard.auth.providers import Door, ask_before_signing_out, own_path, redirect, wanted_page
from kswatch.dashboard.auth.sessions import LASTS_S, MOST_SESSIONS, Visitor
from kswatch.dashboard.auth.settings import OidcSettings
from kswatch.errors import ConfigurationError

PROVIDER = "default"
WANTED_COOKIE = "kswatch_wanted"
WANTED_FOR_S = 600


class OidcDoor(Door):
    """Whoever the provider vouches for and one of the lists names is let in, under their address."""

    open_paths = frozenset({"/sign-in", "/sign-out", "/auth/login", "/auth/logout", "/oauth2callback"})

    def __init__(self, settings: OidcSettings) -> None:
        if find_spec("authlib") is None:
            raise ConfigurationError("sign-in by OpenID Connect needs Authlib; install kswatch[auth]")
        self._settings = settings
        self._cookie_secret = secrets.token_urlsafe(32)
        self._ended: OrderedDict[bytes, None] = OrderedDict()

    def visitor(self, cookies: Mapping[str, str]) -> Visitor | None:
        """Whom the provider vouched for, where a list names them."""
        address = self._address(cookies)
        right = self._settings.right_of(address) if address else None
        return Visitor(address, may_act=right) if address and right is not None else None

    def refusal(self, connection: HTTPConnection) -> Response:
        """The way to the provider; a stranger is told that they are one."""
        address = self._address(connection.cookies)
        if address:
            return sign_in_pages.stranger(address)
        answer = sign_in_pages.provider_link()
        answer.set_cookie(
            WANTED_COOKIE, quote(wanted_page(connection)), WANTED_FOR_S, httponly=True, samesite="lax"
        )
        return answer

    def welcome(self, connection: HTTPConnection) -> Response | None:
        """Back to the page that was asked for before signing in: the provider leads to the first one."""
        wanted = connection.cookies.get(WANTED_COOKIE)
        if wanted is None or connection.url.path != "/":
            return None
        answer = redirect(own_path(unquote(wanted)))
        answer.delete_cookie(WANTED_COOKIE, httponly=True, samesite="lax")
        return answer

    def routes(self) -> list[Route]:
        """To the provider, and the way out; Streamlit has the rest."""
        return [
            Route("/sign-in", self._to_provider, methods=["GET"]),
            Route("/sign-out", ask_before_signing_out, methods=["GET"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
        ]

    def secrets(self) -> dict[str, Any]:
        """Streamlit's [auth] section; the cookies' key is new with each start, which signs everyone out."""
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
        """The e-mail address in Streamlit's signed cookie; None where it is old, ended or not verified."""
        if sha256(cookies.get(USER_COOKIE_NAME, "").encode()).digest() in self._ended:
            return None

        def one(name: str) -> bytes | None:
            value = cookies.get(name)
            return decode_signed_value(self._cookie_secret, name, value.encode("latin-1")) if value else None

        packed = get_cookie_with_chunks(one, USER_COOKIE_NAME)
        user = json.loads(packed) if packed else {}
        uri = urlsplit(self._settings.redirect_uri)
        valid = (
            user.get("is_logged_in") is True
            and user.get("origin") == f"{uri.scheme}://{uri.netloc}"
            # a provider that lets people claim any address says by this that it did not look
            and user.get("email_verified", True) is True
            and time.time() - float(user.get("iat", 0)) < LASTS_S
        )
        return str(user["email"]) if valid and user.get("email") else None

    async def _to_provider(self, request: Request) -> Response:
        del request
        return redirect(f"/auth/login?provider={quote(encode_provider_token(PROVIDER))}")

    async def _sign_out(self, request: Request) -> Response:
        """Let the cookie open nothing any more, wherever a copy of it is, then tell the provider."""
        self._ended[sha256(request.cookies.get(USER_COOKIE_NAME, "").encode()).digest()] = None
        while len(self._ended) > MOST_SESSIONS:
            self._ended.popitem(last=False)
        return redirect("/auth/logout")

"""The application of `streamlit run`: the pages behind the authentication. Started by `kswatch dashboard`."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import streamlit
from starlette.middleware import Middleware
from streamlit import App

from kswatch.dashboard.api.routes import routes as api_routes
from kswatch.dashboard.auth import current_user
from kswatch.dashboard.auth.machine_access import MachineAccess
from kswatch.dashboard.auth.middleware import AuthMiddleware, allowed_hosts
from kswatch.dashboard.auth.providers import AuthProvider, NoAuth
from kswatch.dashboard.auth.settings import (
    AuthSettings,
    is_loopback,
    read_auth_settings,
    require_sign_in_unless_local,
    require_tokens_for_agents,
)
from kswatch.dashboard.data.server_settings import agent_api, host_names, trusted_proxies
from kswatch.dashboard.navigation import show_defect


def content_policy() -> str:
    """A policy that allows this server alone, and the inline scripts of Streamlit's page by their digests."""
    index = Path(streamlit.__file__).with_name("static") / "index.html"
    inline = re.findall(rb"<script>(.*?)</script>", index.read_bytes(), re.DOTALL)
    digests = " ".join(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in inline)
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {digests}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'self'",
            "form-action 'self'",
        )
    )


def _make_provider(settings: AuthSettings) -> AuthProvider:
    """The provider that the settings require.

    Raises:
        ConfigurationError: a provider is set but the extra `auth` is not installed.
    """
    if settings.tokens:
        from kswatch.dashboard.auth.token_auth import TokenAuth

        return TokenAuth(settings.tokens, trusted_proxies())
    if settings.oidc:
        from kswatch.dashboard.auth.oidc import OidcAuth

        return OidcAuth(settings.oidc)
    return NoAuth()


_address = streamlit.get_option("server.address") or "0.0.0.0"
_hosts = host_names()
_settings = read_auth_settings(os.environ)
require_sign_in_unless_local(_settings, _address, _hosts)
require_tokens_for_agents(_settings, agent_api())
_provider = _make_provider(_settings)
_machine_access = MachineAccess(
    _settings.tokens,
    is_closed=_settings.oidc is not None,
    agent_api=agent_api(),
    trusted_proxies=trusted_proxies(),
)
current_user.set_provider(_provider)

app = App(
    Path(__file__).with_name("app.py"),
    secrets=_provider.secrets(),
    on_script_error=show_defect,
    routes=[*_provider.routes(), *api_routes()],
    middleware=[
        Middleware(
            AuthMiddleware,
            provider=_provider,
            hosts=allowed_hosts(_hosts, is_loopback(_address)),
            content_policy=content_policy(),
            machine_access=_machine_access,
        )
    ],
)

"""The choice of the authentication provider by the settings."""

from __future__ import annotations

from kswatch.dashboard.auth.providers import AuthProvider, NoAuth
from kswatch.dashboard.auth.settings import AuthSettings


def make_provider(settings: AuthSettings) -> AuthProvider:
    """The provider that the settings require.

    Raises:
        ConfigurationError: a provider is set but the extra `auth` is not installed.
    """
    if settings.tokens:
        from kswatch.dashboard.auth.token_auth import TokenAuth

        return TokenAuth(settings.tokens)
    if settings.oidc:
        from kswatch.dashboard.auth.oidc import OidcAuth

        return OidcAuth(settings.oidc)
    return NoAuth()

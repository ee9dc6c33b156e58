"""Authentication settings from the environment, read once when the dashboard starts."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from kswatch.errors import ConfigurationError

TOKEN_READ = "KSWATCH_TOKEN_READ"
TOKEN_ACT = "KSWATCH_TOKEN_ACT"
OIDC = "KSWATCH_OIDC_"
SHORTEST_TOKEN = 20
"""Characters; a shorter one could be guessed however slowly."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Tokens:
    """Two shared secrets, one to read and one to read and act; None grants no access."""

    read: str | None = None
    act: str | None = None

    def right_of(self, given: str) -> bool | None:
        """True for the token to act, False for the token to read, None for neither, in constant time."""
        may_act, may_read = _equal(given, self.act), _equal(given, self.read)
        return True if may_act else False if may_read else None


@dataclass(frozen=True)
class OidcSettings:
    """An OpenID Connect provider, and the addresses that may read and act: `user@host`, `@host` or `*`."""

    client_id: str
    client_secret: str
    metadata_url: str
    redirect_uri: str
    readers: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()

    def right_of(self, address: str) -> bool | None:
        """True for an address that may act, False for one that may read, None for one on no list."""
        if _named(address, self.actors):
            return True
        return False if _named(address, self.readers) else None


@dataclass(frozen=True)
class AuthSettings:
    """How users sign in; with neither tokens nor a provider there is no sign-in."""

    tokens: Tokens | None = None
    oidc: OidcSettings | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is no sign-in."""
        return self.tokens is None and self.oidc is None


def read_auth_settings(environment: Mapping[str, str]) -> AuthSettings:
    """The authentication settings of the environment.

    Raises:
        ConfigurationError: a token is short, both are equal, the provider's settings are incomplete,
            or both ways are set.
    """
    tokens, oidc = _read_tokens(environment), _read_oidc(environment)
    if tokens and oidc:
        raise ConfigurationError(
            f"both {TOKEN_READ}/{TOKEN_ACT} and {OIDC}… are set; choose one way to sign in"
        )
    return AuthSettings(tokens, oidc)


def require_sign_in_unless_local(settings: AuthSettings, address: str, hosts: tuple[str, ...]) -> None:
    """Refuse to listen without sign-in where other machines can connect.

    Args:
        settings: of the sign-in.
        address: to listen on.
        hosts: names that it is reached by, beside this machine's own.

    Raises:
        ConfigurationError: it would be open to others.
    """
    if settings.is_open and (hosts or not is_loopback(address)):
        where = address if not is_loopback(address) else ", ".join(hosts)
        raise ConfigurationError(
            f"the dashboard would be open to anyone who can reach {where}: set {TOKEN_READ} and {TOKEN_ACT} "
            f"(of {SHORTEST_TOKEN} characters or more), or {OIDC}CLIENT_ID and the other settings of "
            "OpenID Connect; see README.md"
        )


def require_tokens_for_agents(settings: AuthSettings, agent_api: bool) -> None:
    """Refuse to serve the agent API without a token.

    Raises:
        ConfigurationError: it is on, and there is none.
    """
    if agent_api and settings.tokens is None:
        raise ConfigurationError(
            f"dashboard.agent_api = true needs a bearer token: set {TOKEN_READ} "
            f"(of {SHORTEST_TOKEN} characters or more), or turn it off"
        )


def is_loopback(address: str) -> bool:
    """Whether only this machine can connect to the address."""
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address in LOOPBACK_NAMES


def _read_tokens(environment: Mapping[str, str]) -> Tokens | None:
    read, act = environment.get(TOKEN_READ) or None, environment.get(TOKEN_ACT) or None
    for name, token in ((TOKEN_READ, read), (TOKEN_ACT, act)):
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise ConfigurationError(
                f"{name} is shorter than {SHORTEST_TOKEN} characters; make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
    if read is not None and read == act:
        raise ConfigurationError(
            f"{TOKEN_READ} and {TOKEN_ACT} are equal; reading and acting need two tokens"
        )
    return Tokens(read, act) if read or act else None


def _read_oidc(environment: Mapping[str, str]) -> OidcSettings | None:
    needed = ("CLIENT_ID", "CLIENT_SECRET", "METADATA_URL", "REDIRECT_URI")
    given = {name: environment.get(OIDC + name, "") for name in needed}
    if not any(given.values()):
        return None
    readers, actors = (_list(environment.get(OIDC + name, "")) for name in ("READERS", "ACTORS"))
    missing = [OIDC + name for name, value in given.items() if not value]
    if not readers and not actors:
        missing.append(f"{OIDC}READERS or {OIDC}ACTORS")
    if missing:
        raise ConfigurationError(f"sign-in by OpenID Connect also needs {', '.join(missing)}")
    if not given["REDIRECT_URI"].endswith("/oauth2callback"):
        raise ConfigurationError(
            f"{OIDC}REDIRECT_URI must end with /oauth2callback, as in "
            "https://kswatch.example.org/oauth2callback"
        )
    return OidcSettings(
        **{name.lower(): value for name, value in given.items()}, readers=readers, actors=actors
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())


def _named(address: str, entries: tuple[str, ...]) -> bool:
    folded = address.lower()
    return any(
        entry == "*" or folded == entry or (entry.startswith("@") and folded.endswith(entry))
        for entry in entries
    )


def _equal(given: str, token: str | None) -> bool:
    """Compared as digests, so that the time reveals neither content nor length."""
    same = hmac.compare_digest(sha256(given.encode()).digest(), sha256((token or "").encode()).digest())
    return same and token is not None

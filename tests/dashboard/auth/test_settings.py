"""The authentication settings of the environment, and where the dashboard refuses to listen."""

import subprocess
import sys

import pytest

from kswatch.dashboard.auth.providers import local_path
from kswatch.dashboard.auth.sessions import SESSION_LIFETIME_S, Sessions, User
from kswatch.dashboard.auth.settings import (
    AuthSettings,
    OidcSettings,
    Tokens,
    is_loopback,
    read_auth_settings,
    require_sign_in_unless_local,
)
from kswatch.errors import ConfigurationError
from tests.dashboard.browser_rig import ROOT, free_port

READ, ACT = "r" * 20, "a" * 20
OIDC = {
    "KSWATCH_OIDC_CLIENT_ID": "kswatch",
    "KSWATCH_OIDC_CLIENT_SECRET": "secret",
    "KSWATCH_OIDC_METADATA_URL": "https://login.example/.well-known/openid-configuration",
    "KSWATCH_OIDC_REDIRECT_URI": "https://kswatch.example/oauth2callback",
    "KSWATCH_OIDC_READERS": "@kswatch.example, guest@other.example",
    "KSWATCH_OIDC_ACTORS": "Engineer@kswatch.example",
}


def test_reading_and_acting_are_two_rights() -> None:
    tokens = Tokens(READ, ACT)
    assert [tokens.right_of(given) for given in (READ, ACT, "", "other")] == [False, True, None, None]
    assert Tokens(read=READ).right_of("") is None


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("engineer@KSWATCH.example", True),
        ("anyone@kswatch.example", False),
        ("guest@other.example", False),
        ("other@other.example", None),
        ("engineer@kswatch.example.evil.example", None),
        ("@kswatch.example", False),
        ("evilkswatch.example", None),
    ],
)
def test_lists_name_addresses_and_whole_hosts(address: str, right: bool | None) -> None:
    oidc = read_auth_settings(OIDC).oidc
    assert isinstance(oidc, OidcSettings)
    assert oidc.right_of(address) is right


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"KSWATCH_TOKEN_READ": "short"}, "shorter than 20"),
        ({"KSWATCH_TOKEN_READ": READ, "KSWATCH_TOKEN_ACT": READ}, "two tokens"),
        (OIDC | {"KSWATCH_TOKEN_READ": READ}, "one way"),
        (OIDC | {"KSWATCH_OIDC_CLIENT_SECRET": ""}, "CLIENT_SECRET"),
        (OIDC | {"KSWATCH_OIDC_READERS": "", "KSWATCH_OIDC_ACTORS": ""}, "READERS"),
        (OIDC | {"KSWATCH_OIDC_REDIRECT_URI": "https://kswatch.example/"}, "oauth2callback"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_name(environment: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_auth_settings(environment)


@pytest.mark.parametrize(("address", "hosts"), [("0.0.0.0", ()), ("::", ()), ("127.0.0.1", ("x.example",))])
def test_a_dashboard_without_sign_in_is_refused_where_others_can_connect(
    address: str, hosts: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError, match="KSWATCH_TOKEN_READ"):
        require_sign_in_unless_local(AuthSettings(), address, hosts)
    require_sign_in_unless_local(AuthSettings(Tokens(READ)), address, hosts)


def test_this_machine_alone_needs_no_sign_in() -> None:
    for address in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        require_sign_in_unless_local(read_auth_settings({}), address, ())
    assert not is_loopback("kswatch.example")


@pytest.mark.parametrize("how", ["kswatch", pytest.param("streamlit", marks=pytest.mark.slow)])
def test_the_server_does_not_start_open_to_others(how: str) -> None:
    port = str(free_port())
    kswatch = ["-m", "kswatch", "dashboard", "--address", "0.0.0.0", "--port", port]
    app = str(ROOT / "dashboard" / "asgi.py")
    streamlit = ["-m", "streamlit", "run", app, "--server.address=0.0.0.0", f"--server.port={port}"]
    command = [sys.executable, *(kswatch if how == "kswatch" else streamlit)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert ended.returncode != 0
    assert "would be open to anyone" in ended.stderr + ended.stdout


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_by_itself_and_at_once_by_signing_out() -> None:
    clock = _Clock()
    sessions = Sessions(clock)
    one, other = (sessions.begin(User(name, may_act=False)) for name in ("one", "other"))
    assert sessions.find(one) == User("one", may_act=False)
    sessions.end(one)
    assert sessions.find(one) is None
    clock.now = SESSION_LIFETIME_S
    assert sessions.find(other) is None


@pytest.mark.parametrize("foreign", ["//x.example", "/\\x.example", "https://x.example", "", "/\nx", "x"])
def test_a_form_redirects_to_this_host_only(foreign: str) -> None:
    assert local_path(foreign) == "/"
    assert local_path("/speedup?a=b") == "/speedup?a=b"

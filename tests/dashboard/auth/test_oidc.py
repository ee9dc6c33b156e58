"""Sign-in by an OpenID Connect provider, a mock one on loopback, over real HTTP."""

import json
import string
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest
from itsdangerous import URLSafeTimedSerializer
from starlette.requests import Request as StarletteRequest
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from websockets.exceptions import InvalidStatus

from kswatch.dashboard.auth.oidc import OidcAuth
from kswatch.dashboard.auth.settings import OidcSettings
from tests.dashboard.auth.test_middleware import ENDPOINTS, request, stream
from tests.dashboard.browser_rig import ANSWER_WITHIN_S, free_port, running_dashboard

READER, ACTOR, STRANGER = "reader@kswatch.example", "actor@other.example", "stranger@other.example"
UNVERIFIED = "unverified@kswatch.example"


class Client:
    """A browser without scripts: keeps cookies, follows redirects."""

    def __init__(self, address: str) -> None:
        self.address, self.jar = address, CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.jar))

    def get(self, path: str, data: bytes | None = None) -> HTTPResponse | HTTPError:
        headers = {"Accept": "text/html"} | ({"Origin": self.address} if data is not None else {})
        url = path if path.startswith("http") else self.address + path
        try:
            return self._opener.open(Request(url, data, headers), timeout=ANSWER_WITHIN_S)
        except HTTPError as answer:
            return answer

    def sign_in(self, address: str) -> HTTPResponse | HTTPError:
        """Sign in at the provider under an address, and come back."""
        form = self.get("/sign-in")
        assert form.status == 200, form.read()
        return self.get(form.url, urlencode({"sub": address}).encode())

    @property
    def cookies(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)


@pytest.fixture(scope="module")
def provided(simulated_url: str) -> Iterator[str]:
    """The dashboard behind a provider that knows four people, of whom two are let in."""
    from oidc_provider_mock import User, run_server_in_thread

    people = [
        User(sub=who, claims={"email": who, "email_verified": who != UNVERIFIED})
        for who in (READER, ACTOR, STRANGER, UNVERIFIED)
    ]
    with run_server_in_thread(user_claims=people) as provider:
        port = free_port()
        settings = {
            "CLIENT_ID": "kswatch",
            "CLIENT_SECRET": "a secret of the test",
            "METADATA_URL": f"http://localhost:{provider.server_port}/.well-known/openid-configuration",
            "REDIRECT_URI": f"http://127.0.0.1:{port}/oauth2callback",
            "READERS": "@KSwatch.example",
            "ACTORS": f"another@else.example, {ACTOR}",
        }
        named = {f"KSWATCH_OIDC_{name}": value for name, value in settings.items()}
        with running_dashboard(simulated_url, port, **named) as at:
            yield at


@pytest.mark.parametrize("path", [path for path in ENDPOINTS if path not in ("/sign-out",)])
def test_no_endpoint_answers_without_the_providers_cookie(provided: str, path: str) -> None:
    answer = request(provided + path)
    if path in ("/auth/login", "/oauth2callback"):  # without a state these only lead back to the start
        assert (answer.status, answer.headers["Location"]) == (302, "/")
    else:
        assert answer.status == 401


@pytest.mark.parametrize(
    "cookies", ["", "_streamlit_user=forged", '_streamlit_user="eyJlbWFpbCI6IjEifQ.x.y"']
)
def test_the_websocket_does_not_open_for_a_forged_cookie(provided: str, cookies: str) -> None:
    with pytest.raises(InvalidStatus):
        stream(provided, Cookie=cookies)


@pytest.mark.parametrize("who", [READER, ACTOR])
def test_a_listed_user_signs_in_and_lands_on_the_requested_page(provided: str, who: str) -> None:
    client = Client(provided)
    assert client.get("/speedup?precision=bf16").status == 401
    landed = client.sign_in(who)
    assert (landed.status, landed.url) == (200, f"{provided}/speedup?precision=bf16")
    assert client.get("/_stcore/health").status == 200
    with stream(provided, Cookie=client.cookies) as opened:
        assert opened.state.name == "OPEN"


def test_an_unlisted_user_is_refused_by_name_and_sees_nothing(provided: str) -> None:
    client = Client(provided)
    answer = client.sign_in(STRANGER)
    assert answer.status == 403
    assert STRANGER in answer.read().decode()
    assert client.get("/_stcore/health").status == 403
    with pytest.raises(InvalidStatus):
        stream(provided, Cookie=client.cookies)


def test_an_address_that_the_provider_did_not_verify_is_refused(provided: str) -> None:
    client = Client(provided)
    assert client.sign_in(UNVERIFIED).status == 401


def test_a_copy_of_the_cookie_opens_nothing_after_signing_out(provided: str) -> None:
    client = Client(provided)
    client.sign_in(READER)
    copied = client.cookies
    assert request(f"{provided}/_stcore/health", Cookie=copied).status == 200
    client.get("/sign-out", b"")
    assert request(f"{provided}/_stcore/health", Cookie=copied).status == 401


class SignedIn:
    """A provider, and the cookie that Streamlit would set for a reader."""

    def __init__(self, **claims: object) -> None:
        names = ("client_id", "client_secret", "metadata_url")
        self.auth = OidcAuth(OidcSettings(*names, "https://kswatch.example/oauth2callback", (READER,)))
        self.cookie = self.sign(claims)

    def sign(self, claims: dict[str, object]) -> str:
        user = {"is_logged_in": True, "origin": "https://kswatch.example", "email": READER}
        secret = self.auth.secrets()["auth"]["cookie_secret"]
        content = json.dumps(user | {"iat": time.time()} | claims)
        return str(URLSafeTimedSerializer(secret, salt=USER_COOKIE_NAME).dumps(content))

    def is_known(self, cookie: str) -> bool:
        return self.auth.authenticate({USER_COOKIE_NAME: cookie}) is not None

    def sign_out(self, cookie: str) -> None:
        header = [(b"cookie", f"{USER_COOKIE_NAME}={cookie}".encode())]
        answer = self.auth._sign_out(StarletteRequest({"type": "http", "headers": header}))
        with suppress(StopIteration):  # it waits for nothing; an event loop may run in this thread already
            answer.send(None)


def equal_cookies(cookie: str) -> list[str]:
    """The cookie with each other last character: some decode to the same signature."""
    return [cookie[:-1] + letter for letter in string.ascii_letters + string.digits + "-_"]


def test_no_other_spelling_of_a_signed_out_cookie_opens_it_again() -> None:
    user = SignedIn()
    valid = [cookie for cookie in equal_cookies(user.cookie) if user.is_known(cookie)]
    assert len(valid) > 1  # the signature has unused bits
    user.sign_out(valid[0])
    assert not any(user.is_known(cookie) for cookie in equal_cookies(user.cookie))


def test_made_up_sign_outs_push_no_ended_session_out() -> None:
    user = SignedIn()
    user.sign_out(user.cookie)
    for number in range(2_001):
        user.sign_out(f"made up {number}")
    assert not user.is_known(user.cookie)
    assert len(user.auth._ended) == 1


@pytest.mark.parametrize("iat", [None, "x", [], float("nan"), float("inf"), 0])
def test_a_cookie_without_a_usable_time_is_expired(iat: object) -> None:
    user = SignedIn(iat=iat)
    assert not user.is_known(user.cookie)

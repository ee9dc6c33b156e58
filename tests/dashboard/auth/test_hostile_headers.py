"""Requests whose headers are made up, over raw HTTP on loopback: no path opens, nothing answers with 500."""

import http.client
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest

from tests.dashboard.auth.test_middleware import ACT, ENDPOINTS, READ, cookie_of, request, signed_in
from tests.dashboard.browser_rig import ANSWER_WITHIN_S, running_dashboard

OPEN = "/sign-in"
HOSTS = [
    "127.0.0.1/sign-in?",
    "127.0.0.1/sign-in#",
    "127.0.0.1:80/sign-in?x=",
    "localhost/sign-in?",
    "[::1",
    "[::1]/sign-in?",
    "::1",
    "]",
    "127.0.0.1\\sign-in?",
    "user@127.0.0.1/sign-in?",
    "127.0.0.1:port",
    "",
    "\xe9",
]
HEADERS = [
    *({"Host": host} for host in HOSTS),
    {"Origin": "http://[::1"},
    {"Origin": "]["},
    {"Origin": ""},
    {"Origin": "null"},
    {"X-Forwarded-Host": "127.0.0.1/sign-in?", "X-Forwarded-Prefix": "/sign-in"},
    {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https\x00"},
    {"X-Forwarded-Proto": "ws", "Forwarded": 'for="[::1";host="/sign-in?"'},
    {"X-Original-URL": OPEN, "X-Rewrite-URL": OPEN},
    {"Cookie": "kswatch_session=; kswatch_session=x; =; ;;"},
    {"Cookie": "\xe9=\xe9"},
]
PATHS = [path for path in ENDPOINTS if path != "/sign-out"] + [
    "/sign-in/",
    "//sign-in",
    "/sign-in%2f..",
    "/.",
]


@pytest.fixture(scope="module")
def guarded(simulated_url: str) -> Iterator[str]:
    with running_dashboard(simulated_url, KSWATCH_TOKEN_READ=READ, KSWATCH_TOKEN_ACT=ACT) as at:
        yield at


def status(address: str, path: str, headers: dict[str, str], method: str = "GET", body: bytes = b"") -> int:
    """The status of a request whose headers are sent as they are, Host included."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=ANSWER_WITHIN_S)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection._buffer.append(f"{name}: {value}".encode("latin-1"))  # type: ignore[attr-defined]
        if body:
            connection.putheader("Content-Length", str(len(body)))
            connection.putheader("Content-Type", "application/x-www-form-urlencoded")
        connection.endheaders(body or None)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: str(headers)[:40])
def test_no_header_opens_a_path_or_breaks_the_answer(guarded: str, headers: dict[str, str]) -> None:
    for path in PATHS:
        assert status(guarded, path, headers) in (400, 401, 403, 404), path


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: str(headers)[:40])
def test_no_header_breaks_a_page_of_a_user_who_is_signed_in(guarded: str, headers: dict[str, str]) -> None:
    own = headers if "Cookie" in headers else headers | {"Cookie": cookie_of(signed_in(guarded, READ))}
    assert status(guarded, "/", own) < 500
    assert status(guarded, "/sign-out", own, "POST") < 500


@pytest.mark.parametrize(
    "body",
    [
        b"&".join(b"f%d=x" % number for number in range(500)),
        b"&" * 5000,
        b"name=%ff&token=%00&next=%0d%0aLocation:x",
        b"x" * 20_000,
        urlencode({"name": "n" * 3000, "token": "t" * 3000}).encode(),
    ],
)
def test_no_form_breaks_the_sign_in(guarded: str, body: bytes) -> None:
    assert status(guarded, OPEN, {"Origin": guarded}, "POST", body) in (400, 401)


def test_the_page_of_the_sign_in_is_the_only_one_without_a_cookie(guarded: str) -> None:
    assert request(guarded + OPEN).status == 200
    assert status(guarded, "/sign-in?next=/alerts", {}) == 200

"""The authentication over real HTTP and websockets on loopback: nothing is served without a session."""

import time
from collections.abc import Iterator
from http.client import HTTPResponse
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest
from playwright.sync_api import Browser, Page, expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from tests.dashboard.browser_rig import ANSWER_WITHIN_S, patient_page, running_dashboard, wait_until_drawn
from tests.dashboard.simulated_store import Plan, fill

READ, ACT = "read-0123456789-0123456789", "act-0123456789-0123456789"
ENDPOINTS = [
    "/",
    "/alerts",
    "/_stcore/health",
    "/_stcore/metrics",
    "/_stcore/host-config",
    "/_stcore/upload_file/session/file",
    "/_stcore/bidi-components/x/y.js",
    "/media/0123.csv",
    "/component/x/index.html",
    "/static/js/index.js",
    "/app/static/kswatch.db",
    "/auth/login",
    "/oauth2callback",
    "/sign-out",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def request(
    url: str, method: str = "GET", data: bytes | None = None, **headers: str
) -> HTTPResponse | HTTPError:
    """The answer, whatever its status; no redirect is followed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        return build_opener(_NoRedirect).open(
            Request(url, data, named, method=method), timeout=ANSWER_WITHIN_S
        )
    except HTTPError as answer:
        return answer


def signed_in(
    address: str, token: str, name: str = "a tester", wanted: str = "/"
) -> HTTPResponse | HTTPError:
    form = urlencode({"name": name, "token": token, "next": wanted}).encode()
    return request(f"{address}/sign-in", "POST", form, Origin=address)


def cookie_of(answer: HTTPResponse | HTTPError) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


def stream(address: str, **headers: str) -> ClientConnection:
    return connect(
        f"ws{address.removeprefix('http')}/_stcore/stream",
        additional_headers=headers,
        origin=headers.pop("Origin", address),  # type: ignore[arg-type]
        open_timeout=ANSWER_WITHIN_S,
    )


@pytest.fixture(scope="module")
def guarded(simulated_url: str) -> Iterator[str]:
    """The dashboard where visitors sign in by a token."""
    with running_dashboard(simulated_url, KSWATCH_TOKEN_READ=READ, KSWATCH_TOKEN_ACT=ACT) as at:
        yield at


@pytest.mark.parametrize("path", ENDPOINTS)
def test_no_endpoint_answers_without_the_cookie(guarded: str, path: str) -> None:
    for method in METHODS:
        answer = request(guarded + path, method)
        assert answer.status in (401, 403), method
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("cookie", ["", "kswatch_session=", "kswatch_session=guessed", "_streamlit_user=x"])
def test_the_websocket_does_not_open_without_the_cookie(guarded: str, cookie: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        stream(guarded, Cookie=cookie)
    assert refused.value.response.status_code == 403


def test_a_token_in_the_address_opens_nothing(guarded: str) -> None:
    assert request(f"{guarded}/?token={ACT}&next=/").status == 401
    assert request(f"{guarded}/sign-in?name=me&token={ACT}").headers["Set-Cookie"] is None


def test_the_cookie_of_a_token_opens_pages_and_the_websocket(guarded: str) -> None:
    answer = signed_in(guarded, READ)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    attributes = answer.headers["Set-Cookie"]
    assert "HttpOnly" in attributes and "SameSite=lax" in attributes and READ not in attributes
    cookie = cookie_of(answer)
    assert request(f"{guarded}/_stcore/health", Cookie=cookie).status == 200
    with stream(guarded, Cookie=cookie) as opened:
        assert opened.state.name == "OPEN"


def test_nothing_is_uploaded_even_with_the_cookie(guarded: str) -> None:
    cookie = cookie_of(signed_in(guarded, ACT))
    for path in ("/_stcore/upload_file/a/b", "/media/a"):
        assert request(guarded + path, "PUT", b"x", Cookie=cookie, Origin=guarded).status == 403


def test_another_site_can_neither_sign_in_nor_open_the_websocket(guarded: str) -> None:
    cookie = cookie_of(signed_in(guarded, READ))
    for origin in ("http://elsewhere.example", "null", "http://127.0.0.1:1"):
        form = urlencode({"name": "me", "token": READ}).encode()
        assert request(f"{guarded}/sign-in", "POST", form, Origin=origin).status == 403
        with pytest.raises(InvalidStatus):
            stream(guarded, Cookie=cookie, Origin=origin)


def test_a_name_that_was_pointed_here_is_not_answered(guarded: str) -> None:
    assert request(f"{guarded}/sign-in", Host="elsewhere.example").status == 400


@pytest.mark.parametrize("wanted", ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere", "x"])
def test_signing_in_leads_to_this_host_only(guarded: str, wanted: str) -> None:
    assert signed_in(guarded, READ, wanted=wanted).headers["Location"] == "/"


def test_signing_in_leads_to_the_requested_page(guarded: str) -> None:
    requested = "/speedup?device=x&precision=bf16"
    page = request(guarded + requested, Accept="text/html")
    assert (page.status, "/speedup?device=x&amp;precision=bf16") == (
        401,
        "/speedup?device=x&amp;precision=bf16",
    )
    assert b'value="/speedup?device=x&amp;precision=bf16"' in page.read()
    assert signed_in(guarded, READ, wanted=requested).headers["Location"] == requested


def test_signing_out_ends_the_cookie_and_the_open_websocket(guarded: str) -> None:
    cookie = cookie_of(signed_in(guarded, READ))
    with stream(guarded, Cookie=cookie) as opened:
        assert request(f"{guarded}/sign-out", "POST", b"", Cookie=cookie, Origin=guarded).status == 303
        assert request(f"{guarded}/_stcore/health", Cookie=cookie).status == 401
        opened.send(b"")
        with pytest.raises(ConnectionClosed):
            while True:  # what was under way, until the server closes it
                opened.recv(timeout=ANSWER_WITHIN_S)
    with pytest.raises(InvalidStatus):
        stream(guarded, Cookie=cookie)


def test_after_wrong_tokens_the_right_one_is_delayed_and_nobody_is_locked_out(simulated_url: str) -> None:
    with running_dashboard(simulated_url, KSWATCH_TOKEN_READ=READ) as at:
        assert [signed_in(at, "wrong").status for _ in range(5)] == [401] * 5
        start_s = time.monotonic()
        assert signed_in(at, READ).status == 303
        assert time.monotonic() - start_s > 0.5


def test_pages_run_no_script_but_those_of_this_server(guarded: str) -> None:
    policy = request(f"{guarded}/sign-in").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    cookie = cookie_of(signed_in(guarded, READ))
    policy = request(guarded, Cookie=cookie).headers["Content-Security-Policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe" not in scripts and "'self'" in scripts
    assert request(guarded, Cookie=cookie).headers["X-Frame-Options"] == "DENY"


def _sign_in_by_form(page: Page, address: str, path: str, token: str) -> None:
    page.goto(address + path)
    page.get_by_label("Your name").fill("A. Tester")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    wait_until_drawn(page)


@pytest.mark.slow
@pytest.mark.browser
def test_a_user_who_may_act_acknowledges_an_alert_under_the_name_of_the_form(
    browser: Browser, own_url: str
) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1))
    with running_dashboard(own_url, KSWATCH_TOKEN_ACT=ACT) as at:
        page = patient_page(browser)
        _sign_in_by_form(page, at, "/alerts?alert=1", ACT)
        expect(page.get_by_text("A. Tester, may read and act", exact=True)).to_be_visible()
        page.get_by_role("button", name="Acknowledge", exact=True).click()
        expect(page.get_by_text("acknowledged").filter(visible=True).first).to_be_visible()
        page.close()
    newest = queries.alert_events(store, 1)[-1]
    assert (newest.who, newest.action) == ("A. Tester", "acknowledge")


@pytest.mark.browser
def test_a_user_who_may_only_read_sees_alerts_but_cannot_act(browser: Browser, guarded: str) -> None:
    page = patient_page(browser)
    _sign_in_by_form(page, guarded, "/alerts?alert=1", READ)
    assert page.url.startswith(f"{guarded}/alerts?alert=1")
    expect(page.get_by_text("A. Tester, may read", exact=True)).to_be_visible()
    expect(page.get_by_text("You may read this dashboard but not act on it")).to_be_visible()
    assert page.get_by_role("button", name="Acknowledge").count() == 0
    page.goto(f"{guarded}/ask?pattern=6,64,64,1")
    wait_until_drawn(page)
    expect(page.get_by_role("button", name="Request this run")).to_be_disabled()
    page.close()

"""The door of HTTP: mutated requests to a dashboard get an answer in time, and never a server error."""

from __future__ import annotations

import random
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

import pytest

from kswatch.db.store import Store
from tests.dashboard.browser_rig import running_dashboard
from tests.dashboard.simulated_store import Plan, fill

READ, ACT = "read-" + "r" * 20, "act-" + "a" * 20
ANSWERS_WITHIN_S = 5.0
SHORTEST_WAIT_S = 0.3
"""Of a request that is not complete: the server rightly waits for the rest."""
PATHS = (
    b"/",
    b"/sign-in",
    b"/sign-out",
    b"/overview",
    b"/_stcore/health",
    b"/_stcore/stream",
    b"/media/x",
    b"/static/x",
)
PATHS += (
    b"/component/x/y",
    b"/_stcore/upload_file/a/b",
    b"/runs?run=" + b"9" * 20,
    b"/alerts?alert=-1&alert=2",
)
PATHS += (
    b"/speedup?precision=%00",
    b"/../../etc/passwd",
    b"/%2e%2e/%2e%2e/etc/passwd",
    b"//evil.example/",
    b"/\xff",
)
PATHS += (
    b"/" + b"x" * 5_000,
    b"http://evil.example/",
    b"*",
    b"/sign-in?next=//evil.example",
    b"/%",
    b"/a%00b",
    b"/sign-in/..;/",
)
METHODS = (
    b"GET",
    b"GET",
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"get",
    b"X" * 300,
)
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"")
HEADERS = (
    b"Host: [::1",
    b"Host: evil.example",
    b"Host: 127.0.0.1/sign-in?",
    b"Origin: ][",
    b"Origin: http://evil.example",
    b"Host:",
)
HEADERS += (
    b"Content-Length: -1",
    b"Content-Length: " + b"9" * 30,
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: x",
)
HEADERS += (
    b"Cookie: kswatch_session=" + b"x" * 5_000,
    b"Cookie: =;;;=",
    b"Cookie: \xff",
    b"X-Forwarded-For: " + b"1," * 3_000,
)
HEADERS += (
    b"Range: bytes=-1-",
    b"If-Modified-Since: never",
    b"Accept-Encoding: gzip;q=nan",
    b"Expect: 100-continue",
    b"A\0B: c",
)
HEADERS += (
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: x",
    b"Sec-WebSocket-Version: 99",
    b"Connection: Upgrade",
    b": x",
    b"x" * 70_000,
)
HEADERS += (
    b"Content-Type: multipart/form-data; boundary=",
    b"Content-Type: multipart/form-data; boundary=x",
    b"Content-Type: \xff",
)
HEADERS += (
    b"Content-Type: application/x-www-form-urlencoded; charset=nowhere",
    b"Authorization: Basic \xff",
    b"Accept-Language: *",
)
BODIES = (
    b"",
    b"token=" + READ.encode(),
    b"token=%ff%fe%00",
    b"&" * 5_000,
    b"token=" + b"x" * 100_000,
    b"--x\r\n\r\n--x--",
    b"\0" * 1_000,
)
BODIES += (
    b"&".join(b"f%d=1" % number for number in range(2_000)),
    b"5\r\nhello\r\n0\r\n\r\n",
    b"token[]=1&token=2&token=3",
    b"{",
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard that requires sign-in, on a store of one simulated night."""
    url = f"sqlite:///{tmp_path_factory.mktemp('served') / 'kswatch.db'}"
    store = Store.open(url)
    fill(store, Plan(nights=1, patterns=1, devices=("sim-a100",), samples=4))
    store.close()
    with running_dashboard(url, KSWATCH_TOKEN_READ=READ, KSWATCH_TOKEN_ACT=ACT) as address:
        yield address


def made_request(randomness: random.Random, host: bytes) -> bytes:
    """The bytes of a request with hostile parts."""
    body = randomness.choice(BODIES)
    chosen = randomness.sample(HEADERS, randomness.choice((0, 1, 1, 2, 4)))
    names = {header.partition(b":")[0].lower() for header in chosen}
    own = [] if b"host" in names else [b"Host: " + host]
    own += [b"Connection: close"] if b"connection" not in names else []
    own += (
        [b"Content-Length: %d" % len(body)]
        if body and not names & {b"content-length", b"transfer-encoding"}
        else []
    )
    own += [b"Content-Type: application/x-www-form-urlencoded"] if b"content-type" not in names else []
    first = b" ".join((randomness.choice(METHODS), randomness.choice(PATHS), randomness.choice(VERSIONS)))
    content = b"\r\n".join((first, *own, *chosen, b"", body))
    if randomness.randrange(6) == 0:
        at = randomness.randrange(len(content))
        content = content[:at] + randomness.randbytes(randomness.choice((1, 4))) + content[at + 1 :]
    return content


def first_line(address: str, content: bytes) -> bytes:
    """The first line of the answer; empty where the server closed or still waits for more of the request."""
    place = urlsplit(address)
    with socket.create_connection(
        (place.hostname or "", place.port or 0), timeout=ANSWERS_WITHIN_S
    ) as connection:
        try:
            connection.sendall(content)
            connection.settimeout(SHORTEST_WAIT_S if b"9" * 30 in content else ANSWERS_WITHIN_S)
            return connection.recv(4_096).partition(b"\r\n")[0]
        except (TimeoutError, ConnectionError, BrokenPipeError):
            return b""


def health_seconds(address: str) -> float:
    """How long the server takes to answer a plain request."""
    began = time.monotonic()
    try:
        urllib.request.urlopen(f"{address}/_stcore/health", timeout=60).close()
    except HTTPError as refused:
        assert refused.code in (401, 403)
    return time.monotonic() - began


def faults(address: str, seed: int, number: int) -> list[str]:
    """Requests that a server error answered."""
    randomness, found = random.Random(seed), []
    host = urlsplit(address).netloc.encode()
    for _ in range(number):
        content = made_request(randomness, host)
        answer = first_line(address, content)
        if answer.split(b" ")[1:2] and answer.split(b" ")[1][:1] == b"5" and b"501" not in answer:
            found.append(f"{content!r:.400}: {answer!r}")
    return found


def test_a_mutated_request_gets_no_server_error_and_the_server_lives(guarded: str) -> None:
    assert faults(guarded, seed=1, number=60) == []
    assert health_seconds(guarded) < 60


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_many_mutated_requests_get_no_server_error_and_the_server_lives(guarded: str) -> None:
    assert faults(guarded, seed=2, number=1_500) == []
    assert health_seconds(guarded) < 60


def test_a_form_with_a_wrong_token_of_any_text_is_refused(guarded: str) -> None:
    for text in ("\0", "ü" * 500, "x" * 5_000, "'", "\u202e"):
        body = b"token=" + quote(text).encode()
        host = urlsplit(guarded).netloc.encode()
        head = (
            b"POST /sign-in HTTP/1.1\r\nHost: "
            + host
            + b"\r\nOrigin: http://"
            + host
            + b"\r\nConnection: close\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        status = first_line(guarded, head + body).split(b" ")[1:2]
        assert status and status[0][:1] == b"4", (text, status)


@pytest.fixture(scope="module", autouse=True)
def no_litter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails where a request wrote a file beside the store."""
    yield
    folders = [path for path in Path(tmp_path_factory.getbasetemp()).glob("served*") if path.is_dir()]
    assert all(file.name.startswith("kswatch.db") for folder in folders for file in folder.iterdir())

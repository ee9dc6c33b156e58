"""The door of HTTP: mutated requests to a dashboard get an answer in time, and never a server error."""

from __future__ import annotations

import random
import socket
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

import psutil
import pytest

from kswatch.db.store import Store
from tests.dashboard.browser_rig import running_dashboard
from tests.dashboard.simulated_store import Plan, fill
from tests.robustness.fuzz.cases import CPU_LIMIT_S, SECONDS, SEED, cases_for, faults_of, some_cases

READ, ACT = "read-" + "r" * 20, "act-" + "a" * 20
ANSWERS_WITHIN_S = 0.5
"""A request that is not complete gets no answer: the server rightly waits for the rest."""
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
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the server's stderr goes to."""
    return tmp_path_factory.mktemp("log") / "stderr"


@pytest.fixture(scope="module")
def guarded(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard that requires sign-in, on a store of one simulated night."""
    url = f"sqlite:///{tmp_path_factory.mktemp('served') / 'kswatch.db'}"
    store = Store.open(url)
    fill(store, Plan(nights=1, patterns=1, devices=("sim-a100",), samples=4))
    store.close()
    with running_dashboard(url, log=log, KSWATCH_TOKEN_READ=READ, KSWATCH_TOKEN_ACT=ACT) as address:
        yield address
    assert traceback_in(log) == ""


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


def first_line(address: str, content: bytes, waits_s: float = ANSWERS_WITHIN_S) -> bytes:
    """The first line of the answer; empty where the server closed, or still waits for more of the request."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=60) as connection:
        try:
            connection.sendall(content)
            connection.settimeout(waits_s)
            return connection.recv(4_096).partition(b"\r\n")[0]
        except (TimeoutError, ConnectionError, BrokenPipeError):
            return b""


def is_well_answered(address: str) -> bool:
    """Whether the server answers a plain request within a minute."""
    try:
        urllib.request.urlopen(f"{address}/_stcore/health", timeout=60).close()
    except HTTPError as refused:
        return refused.code in (401, 403)
    return True


def server_of(address: str) -> psutil.Process:
    """The process of this one's children that listens there."""
    port = str(urlsplit(address).port)
    return next(
        child for child in psutil.Process().children() if any(port in text for text in child.cmdline())
    )


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds that a process has used."""
    times = process.cpu_times()
    return times.user + times.system


def traceback_in(log: Path, begin: int = 0) -> str:
    """The first traceback through our code after this place; empty where there is none.

    Uvicorn has some of its own, about bytes that are no HTTP, before any application is called.
    """
    written = log.read_text(encoding="utf-8", errors="replace")[begin:]
    _, *found = written.split("Traceback (most recent call last):")
    return next((text[:3_000] for text in found if "/kswatch/" in text), "")


def fault_of(address: str, log: Path, randomness: random.Random) -> str:
    """What the server did on a mutated request that it must not: a server error, or work without end."""
    content = made_request(randomness, urlsplit(address).netloc.encode())
    server = server_of(address)
    before, written = cpu_s(server), len(log.read_text(encoding="utf-8", errors="replace"))
    status = first_line(address, content).split(b" ")[1:2]
    if status and status[0][:1] == b"5" and status[0] != b"501":
        return f"{content!r:.400}: {status!r}"
    if not status and not is_well_answered(address):
        return f"{content!r:.400}: no answer to the next request"
    if traceback := traceback_in(log, written):
        return f"{content!r:.400}: {traceback}"
    spent = cpu_s(server) - before
    return f"{content!r:.400}: {spent:.1f} s of CPU" if spent > CPU_LIMIT_S else ""


def grown_mb(server: psutil.Process, before: int) -> float:
    """How much more memory the server has than before, in MB."""
    return (server.memory_info().rss - before) / 2**20


def test_a_mutated_request_gets_no_server_error_and_the_server_lives(guarded: str, log: Path) -> None:
    before = server_of(guarded).memory_info().rss
    assert faults_of(some_cases(60), partial(fault_of, guarded, log)) == ""
    assert is_well_answered(guarded)
    assert grown_mb(server_of(guarded), before) < 100


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS + 300)
def test_mutated_requests_get_no_server_error_and_the_server_lives_for_minutes(
    guarded: str, log: Path, record_property: Callable[[str, object], None]
) -> None:
    server = server_of(guarded)
    before = server.memory_info().rss

    def count(number: int) -> None:
        grown = f"the server grew by {grown_mb(server, before):.0f} MB"
        record_property("figure", f"fuzzed requests: {number:,} of seed {SEED}; {grown}")

    assert faults_of(cases_for(SECONDS), partial(fault_of, guarded, log), count) == ""
    assert is_well_answered(guarded)
    assert grown_mb(server, before) < 300


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
        status = first_line(guarded, head + body, waits_s=60).split(b" ")[1:2]
        assert status and status[0][:1] == b"4", (text, status)


@pytest.fixture(scope="module", autouse=True)
def no_litter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails where a request wrote a file beside the store."""
    yield
    folders = [path for path in Path(tmp_path_factory.getbasetemp()).glob("served*") if path.is_dir()]
    assert all(file.name.startswith("kswatch.db") for folder in folders for file in folder.iterdir())

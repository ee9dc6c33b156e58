"""The heartbeat of nights, called over real HTTP on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.service.dead_man_switch import ping

CONFIG = ProfilerConfig(heartbeat_url_variable="NIGHT_WATCH_URL")


@pytest.fixture
def watch() -> Iterator[HTTPServer]:
    """An HTTP monitor that records the paths of calls."""

    class Remembers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.called.append(self.path)
            self.send_response(404 if "gone" in self.path else 200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Remembers)
    server.called = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(server: HTTPServer, path: str) -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def test_the_monitor_is_called_after_a_night(watch, monkeypatch):
    monkeypatch.setenv("NIGHT_WATCH_URL", url(watch, "/ping/secret"))
    assert ping(CONFIG)
    assert watch.called == ["/ping/secret"]


def test_a_failing_monitor_is_logged_without_its_url_and_fails_nothing(watch, monkeypatch, caplog):
    monkeypatch.setenv("NIGHT_WATCH_URL", url(watch, "/gone/secret"))
    assert not ping(CONFIG)
    assert "the URL in NIGHT_WATCH_URL does not answer" in caplog.text
    assert "secret" not in caplog.text


def test_an_absent_monitor_fails_nothing(watch, monkeypatch):
    gone = url(watch, "/")
    watch.server_close()
    monkeypatch.setenv("NIGHT_WATCH_URL", gone)
    assert not ping(CONFIG)


@pytest.mark.parametrize("value", ["", "file:///etc/passwd", "no url"])
def test_a_value_that_is_no_http_url_is_never_opened(value, monkeypatch, caplog):
    monkeypatch.setenv("NIGHT_WATCH_URL", value)
    assert not ping(CONFIG)
    assert "holds no http URL" in caplog.text


def test_nothing_is_called_unless_it_is_configured():
    assert not ping(ProfilerConfig())

"""The heartbeat of nights, called over real HTTP on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.service.dead_man_switch import call

CONFIG = ProfilerConfig(heartbeat_url_variable="NIGHT_WATCH_URL")


@pytest.fixture
def watch() -> Iterator[HTTPServer]:
    """A watch that remembers who called."""

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


def test_the_watch_hears_of_a_night(watch, monkeypatch):
    monkeypatch.setenv("NIGHT_WATCH_URL", url(watch, "/ping/secret"))
    assert call(CONFIG)
    assert watch.called == ["/ping/secret"]


def test_a_watch_that_fails_is_told_without_its_url_and_fails_nothing(watch, monkeypatch, capsys):
    monkeypatch.setenv("NIGHT_WATCH_URL", url(watch, "/gone/secret"))
    assert not call(CONFIG)
    told = capsys.readouterr().err
    assert "the URL in NIGHT_WATCH_URL does not answer" in told
    assert "secret" not in told


def test_a_watch_that_is_not_there_fails_nothing(watch, monkeypatch):
    gone = url(watch, "/")
    watch.server_close()
    monkeypatch.setenv("NIGHT_WATCH_URL", gone)
    assert not call(CONFIG)


@pytest.mark.parametrize("value", ["", "file:///etc/passwd", "no url"])
def test_what_is_no_url_is_never_opened(value, monkeypatch, capsys):
    monkeypatch.setenv("NIGHT_WATCH_URL", value)
    assert not call(CONFIG)
    assert "holds no http URL" in capsys.readouterr().err


def test_nobody_is_called_unless_it_is_configured():
    assert not call(ProfilerConfig())

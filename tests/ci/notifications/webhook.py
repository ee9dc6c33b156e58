"""A webhook on loopback, as Apprise's json:// speaks to it: keeps what it got, and can be down."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager

from tests.ci.loopback import QuietHandler, http_server


class Webhook:
    """What arrived, in order; `up` decides the answer, `arrived` lets a test wait for the first one."""

    def __init__(self) -> None:
        self.up = True
        self.got: list[dict[str, str]] = []
        self.tries = 0
        self.arrived = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"json://ann:s3cret@127.0.0.1:{self.port}/hook"

    @contextmanager
    def serving(self):
        webhook = self

        class Handler(QuietHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                webhook.tries += 1
                if webhook.up:
                    webhook.got.append(body)
                webhook.arrived.set()
                webhook.may_answer.wait(20)
                self.send_response(200 if webhook.up else 503)
                self.end_headers()

        with http_server(Handler, self.port) as self.port:
            try:
                yield self
            finally:
                self.may_answer.set()

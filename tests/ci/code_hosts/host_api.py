"""The comments of one change on loopback, answering as GitHub and GitLab do (their documented answers)."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from tests.ci.loopback import QuietHandler, http_server

TOKEN = "ghs_0123456789abcdefghij"


class HostApi:
    """The comments, and every request that changed or would have changed one."""

    def __init__(self) -> None:
        self.comments: list[dict] = []
        self.requests: list[tuple[str, str]] = []
        self.status: int | None = None
        self.redirect_to = ""
        self.user: dict | None = None
        self.answers: dict[str, object] = {}
        """By the end of a path: the answer in place of the right one."""
        self.raw: bytes | None = None
        """Sent in place of any answer."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, author: str, body: str) -> dict:
        row = {"id": 1000 + len(self.comments), "body": body}
        row |= {"user": {"login": author}, "author": {"username": author}}
        self.comments.append(row)
        return row

    def answer(self, method: str, path: str, body: dict | None, token: str) -> tuple[int, object]:
        self.requests.append((method, path))
        if self.status:
            return self.status, {"message": "planted"}
        if token != TOKEN:
            return 401, {"message": "Bad credentials"}
        parts = urlsplit(path)
        for end, answer in self.answers.items():
            if parts.path.endswith(end):
                return 200, answer
        if parts.path.endswith("/user"):
            return (200, self.user) if self.user else (403, {"message": "Resource not accessible"})
        if found := re.search(r"/(?:comments|notes)/(\d+)$", parts.path):
            (row,) = [one for one in self.comments if one["id"] == int(found[1])]
            row["body"] = body["body"]
            return 200, row
        if method == "POST":
            return 201, self.add((self.user or {}).get("login") or "github-actions[bot]", body["body"])
        page, size = (int(parse_qs(parts.query)[name][0]) for name in ("page", "per_page"))
        return 200, self.comments[(page - 1) * size : page * size]

    @contextmanager
    def serving(self):
        api = self

        class Handler(QuietHandler):
            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                token = self.headers.get("PRIVATE-TOKEN") or ""
                token = token or self.headers.get("Authorization", "").removeprefix("Bearer ")
                if api.raw is not None:
                    self.wfile.write(api.raw)
                    return
                status, found = api.answer(self.command, self.path, json.loads(body) if body else None, token)
                self.send_response(status)
                if api.redirect_to:
                    self.send_header("Location", api.redirect_to)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            do_GET = do_POST = do_PATCH = do_PUT = handle_any

        with http_server(Handler) as self.port:
            yield self

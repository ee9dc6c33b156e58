"""Retries of the connection to a server that restarts, or whose network is down for a while."""

from __future__ import annotations

import time

from sqlalchemy import Connection, Engine

from kswatch.db.backend.errors import ConnectionLostError, translate_db_errors

RETRY_EVERY_S = 0.5


class ConnectRetry:
    """Retries connecting for a limited time in all, until the server answers again."""

    def __init__(self, seconds: float) -> None:
        """Retry for `seconds` after the first failed attempt; 0 never retries."""
        self._seconds = seconds
        self._deadline_s: float | None = None
        """Deadline of the current retries by the monotonic clock; None while the server answers."""

    def connect(self, engine: Engine) -> Connection:
        """A connection, as soon as the server gives one.

        Raises:
            ConnectionLostError: there was none in time.
        """
        while True:
            try:
                with translate_db_errors(engine.url):
                    connection = engine.connect()
            except ConnectionLostError:
                now_s = time.monotonic()
                self._deadline_s = self._deadline_s or now_s + self._seconds
                if now_s >= self._deadline_s:
                    raise
                time.sleep(min(RETRY_EVERY_S, self._deadline_s - now_s))
            else:
                self._deadline_s = None
                return connection

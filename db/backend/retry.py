"""Connecting to a server that may be gone for a while: restarted, or behind a network that was cut."""

from __future__ import annotations

import time

from sqlalchemy import Connection, Engine

from kswatch.db.backend.errors import ConnectionLostError, told_plainly

TRY_EVERY_S = 0.5


class Patience:
    """Waits for a server that does not answer, but so long only once: who comes later waits no more."""

    def __init__(self, seconds: float) -> None:
        """Wait so long from the first attempt that fails; 0 never waits."""
        self._seconds = seconds
        self._ends_s: float | None = None
        """When the waiting under way ends, by the monotonic clock; None while the server answers."""

    def connect(self, engine: Engine) -> Connection:
        """A connection, as soon as there is one.

        Raises:
            ConnectionLostError: there was none in time.
        """
        while True:
            try:
                with told_plainly(engine.url):
                    connection = engine.connect()
            except ConnectionLostError:
                now_s = time.monotonic()
                self._ends_s = self._ends_s or now_s + self._seconds
                if now_s >= self._ends_s:
                    raise
                time.sleep(min(TRY_EVERY_S, self._ends_s - now_s))
            else:
                self._ends_s = None
                return connection

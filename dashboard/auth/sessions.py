"""Who is signed in, and who has failed to: kept in this process alone, so that a restart signs out."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

LASTS_S = 12 * 3600.0
MOST_SESSIONS = 2_000
MOST_FAILURES = 5
FAILURES_COUNT_FOR_S = 300.0
MOST_ADDRESSES = 10_000

Clock = Callable[[], float]


@dataclass(frozen=True)
class Visitor:
    """Somebody who was let in."""

    name: str
    may_act: bool
    signed_in: bool = True
    """False on a dashboard that asks nobody: the name is only a suggestion then."""


class Sessions:
    """Visitors by the secret in their cookie, of which only a digest is kept."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._held: OrderedDict[bytes, tuple[Visitor, float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, visitor: Visitor) -> str:
        """Sign a visitor in and give the secret for the cookie."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._held[_digest(secret)] = visitor, self._clock() + LASTS_S
            while len(self._held) > MOST_SESSIONS:
                self._held.popitem(last=False)
        return secret

    def visitor(self, secret: str) -> Visitor | None:
        """Whose secret this is; None where it is nobody's or its time is over."""
        with self._lock:
            found = self._held.get(_digest(secret))
        return found[0] if found and found[1] > self._clock() else None

    def end(self, secret: str) -> None:
        """Sign out: the secret opens nothing from now on, wherever a copy of it is."""
        with self._lock:
            self._held.pop(_digest(secret), None)


class Failures:
    """How often each address failed to sign in lately."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 where it may now."""
        with self._lock:
            times = self._recent(address)
            return times[0] + FAILURES_COUNT_FOR_S - self._clock() if len(times) >= MOST_FAILURES else 0.0

    def add(self, address: str) -> None:
        """Count a failure."""
        with self._lock:
            self._by_address.setdefault(address, deque(maxlen=MOST_FAILURES)).append(self._clock())
            self._by_address.move_to_end(address)
            while len(self._by_address) > MOST_ADDRESSES:
                self._by_address.popitem(last=False)

    def _recent(self, address: str) -> deque[float]:
        times = self._by_address.get(address, deque())
        while times and times[0] + FAILURES_COUNT_FOR_S <= self._clock():
            times.popleft()
        return times


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()

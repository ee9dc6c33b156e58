"""Sessions, kept in this process alone, so that a restart signs all users out."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

SESSION_LIFETIME_S = 12 * 3600.0
MOST_SESSIONS = 2_000

Clock = Callable[[], float]


@dataclass(frozen=True)
class User:
    """A user of the dashboard."""

    name: str
    may_act: bool
    signed_in: bool = True
    """False on a dashboard without sign-in: the name is only a suggestion then."""


class Sessions:
    """Users by the secret in their cookie, of which only a digest is kept."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._held: OrderedDict[bytes, tuple[User, float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, user: User) -> str:
        """Sign a user in; returns the secret for the cookie."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._held[_digest(secret)] = user, self._clock() + SESSION_LIFETIME_S
            while len(self._held) > MOST_SESSIONS:
                self._held.popitem(last=False)
        return secret

    def find(self, secret: str) -> User | None:
        """The user of a secret; None where it is unknown or expired."""
        with self._lock:
            found = self._held.get(_digest(secret))
        return found[0] if found and found[1] > self._clock() else None

    def end(self, secret: str) -> None:
        """Sign out: invalidate the secret, copies of the cookie included."""
        with self._lock:
            self._held.pop(_digest(secret), None)


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()

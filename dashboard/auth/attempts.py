"""Failed sign-ins, and how long the next attempt is delayed: guessing slows down, nobody is locked out.

A delay grows with the recent failures of the client's address, of the name that it gives, and of all
together. Each is short enough for a user to sign in beside somebody who guesses; what bounds a flood is the
number of attempts that may wait at a time.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kswatch.errors import ConfigurationError

FAILURES_COUNT_FOR_S = 300.0
FREE_FAILURES = 3
"""So many are not delayed: typing errors."""
FIRST_DELAY_S = 0.25
MOST_DELAY_S = 4.0
OVERALL_DELAY_S = 0.01
"""For each recent failure of anybody."""
MOST_OVERALL_DELAY_S = 1.0
MOST_WAITING_OF_CLIENT = 20
MOST_WAITING = 500
MOST_KEYS = 10_000
_OVERALL = ("overall", "")

Clock = Callable[[], float]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Attempts:
    """Recent failures by client and by name, and the attempts that wait now."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._waiting: Counter[str] = Counter()
        self._lock = threading.Lock()

    def delay_s(self, client: str, name: str) -> float:
        """Seconds that an attempt of this client under this name is delayed."""
        with self._lock:
            own = max(self._count("client", client), self._count("name", name.casefold()))
            overall = OVERALL_DELAY_S * self._count(*_OVERALL)
        delay = FIRST_DELAY_S * 2.0 ** min(own - FREE_FAILURES, 20) if own >= FREE_FAILURES else 0.0
        return min(delay, MOST_DELAY_S) + min(overall, MOST_OVERALL_DELAY_S)

    def add_failure(self, client: str, name: str) -> None:
        """Count a failure."""
        with self._lock:
            for key in (("client", client), ("name", name.casefold()), _OVERALL):
                self._failures.setdefault(key, deque(maxlen=200)).append(self._clock())
                self._failures.move_to_end(key)
            while len(self._failures) > MOST_KEYS:
                self._failures.popitem(last=False)

    @contextmanager
    def waiting(self, client: str) -> Iterator[bool]:
        """Whether one more attempt of this client may wait; while the block runs, it does."""
        with self._lock:
            admitted = self._waiting[client] < MOST_WAITING_OF_CLIENT and self._waiting.total() < MOST_WAITING
            self._waiting[client] += admitted
        try:
            yield admitted
        finally:
            with self._lock:
                self._waiting[client] -= admitted
                self._waiting += Counter()  # forgets clients of whom nothing waits

    def _count(self, kind: str, key: str) -> int:
        times = self._failures.get((kind, key), deque())
        while times and times[0] + FAILURES_COUNT_FOR_S <= self._clock():
            times.popleft()
        return len(times)


def client_of(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """The address that an attempt is counted under.

    Args:
        peer: The address that the connection comes from.
        forwarded: The header X-Forwarded-For, each proxy's addition last.
        trusted: The proxies whose additions count; any other peer is the client, whatever it sends.

    Returns:
        The address nearest to this server that is no trusted proxy; of IPv6 its network of a household (/64).
    """
    client = _address(peer)
    for part in reversed(forwarded.split(",") if forwarded else []):
        before = _address(part.strip())
        if client is None or before is None or not any(client in network for network in trusted):
            break
        client = before
    if client is None:
        return "unknown"
    return str(ipaddress.ip_network((client, 64), strict=False)) if client.version == 6 else str(client)


def read_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The addresses and networks of trusted proxies.

    Raises:
        ConfigurationError: a text is neither.
    """
    try:
        return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in texts)
    except ValueError as error:
        raise ConfigurationError(
            f"dashboard.trusted_proxies: {error}; write addresses or networks, as in 127.0.0.1 or 10.0.0.0/8"
        ) from None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if found.version == 6 else found

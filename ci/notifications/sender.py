"""Delivery of the outbox: each message is sent to each channel of the environment until it is accepted.

Provisional alerts appear in the reports only; channels are notified when an alert is confirmed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from kswatch.ci.formats.alert_text import difference_lines
from kswatch.ci.formats.escape import plain
from kswatch.ci.notifications.channels import CHANNELS, Channel, channels
from kswatch.db.alerts import outbox
from kswatch.db.alerts.outbox import MessageRow
from kswatch.db.queries.basic import alert, devices
from kswatch.db.store import Store
from kswatch.errors import KswatchError

DELIVERY_INTERVAL_S = 30.0
STOP_WITHIN_S = 10.0
"""The longest wait for a message that is being sent when the process stops, as its channel may hang."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeliveryResult:
    """The result of one delivery of the outbox."""

    sent: int
    waiting: int
    """Messages that no channel has accepted yet."""
    faults: tuple[str, ...]
    """Sentences on invalid URLs and failed attempts, without secrets."""


def deliver_pending(store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> DeliveryResult:
    """Address new notifications to the channels of the environment, and send the messages that are due.

    Safe to call from several processes at once, and again after one of them died: see db/alerts/outbox.py for
    the one case in which a channel gets a message twice.
    """
    found, faults = channels()
    by_name = {one.name: one for one in found}
    outbox.address_notifications(store, list(by_name), lambda message: body_of(store, message))
    sent, failed = 0, list[str]()
    while found and (message := outbox.claim(store, by_name, now())) is not None:
        reason = by_name[message.channel].send(f"kswatch {message.title}", message.body)
        if reason is None:
            outbox.mark_sent(store, message.id, now())
            sent += 1
        else:
            at = outbox.mark_failed(store, message, reason, now())
            failed.append(f"{message.channel}: {reason}; next try {at:%Y-%m-%d %H:%M:%S} UTC")
    left = outbox.messages(store, (outbox.QUEUED, outbox.SENDING))
    waiting = sum(one.channel != outbox.UNADDRESSED for one in left)
    return DeliveryResult(sent, waiting, (*faults, *failed))


def notify(store: Store) -> list[str]:
    """Deliver the outbox as a side task; returns sentences on failures instead of raising."""
    result = deliver_pending(store)
    later = (
        f"; {result.waiting} messages are waiting: `kswatch alerts outbox` lists them"
        if result.waiting
        else ""
    )
    return [f"{fault}{later}" for fault in result.faults]


@contextmanager
def notification_worker(database_url: str, every_s: float = DELIVERY_INTERVAL_S) -> Iterator[None]:
    """Deliver the outbox regularly from a thread with a store of its own, until the context ends.

    So a slow or unavailable channel delays nothing else.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_deliver_until, args=(database_url, every_s, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_WITHIN_S)


def _deliver_until(database_url: str, every_s: float, stop: threading.Event) -> None:
    reported: list[str] = []
    while True:
        try:
            with closing(Store.open(database_url, create=False)) as store:
                sentences = notify(store)
        except KswatchError as error:  # a busy or unavailable store is tried again
            sentences = [str(error)]
        for sentence in sentences:
            if sentence not in reported:  # each once, not at every interval
                _log.warning("%s", sentence)
        reported = sentences
        if stop.wait(every_s):
            return


def body_of(store: Store, message: MessageRow) -> str:
    """The text of a notification: the alert, its device, and what changed since the last good run."""
    if message.alert_id is None:
        return message.title
    one = alert(store, message.alert_id)
    device = next(device for device in devices(store) if device.id == one.device_id)
    where = f"on {device.model} ({device.uuid}){', simulated' if device.simulated else ''}"
    lines = [one.title, where, *difference_lines(one), f"kswatch alerts show {one.id}"]
    return "\n".join(lines)


def outbox_lines(messages: Sequence[MessageRow], found: Sequence[Channel]) -> str:
    """One line for each message, for a terminal."""
    if not messages:
        return "the outbox is empty"
    known = {one.name for one in found}
    lines = []
    for one in messages:
        channel = "no channel yet" if one.channel == outbox.UNADDRESSED else one.channel
        unconfigured = one.state == outbox.QUEUED and one.channel not in known
        note = f" (not in {CHANNELS} now)" if unconfigured and one.channel != outbox.UNADDRESSED else ""
        tries = f", {one.attempts} tries" if one.attempts else ""
        error = f": {one.error}" if one.error else ""
        when = f"{one.sent_at or one.next_try_at:%Y-%m-%d %H:%M:%S} UTC"
        lines.append(f"{one.id:>5}  {one.state:<9} {when}  {channel}{note}{tries}{error}  {plain(one.title)}")
    return "\n".join(lines)

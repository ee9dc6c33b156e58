"""Telling people: what the outbox holds goes to each channel of the environment, until that took it.

What is only provisional stands in the reports; a channel hears of it when it is confirmed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from kswatch.ci.formats.alert_text import differences
from kswatch.ci.notifications.channels import CHANNELS, Channel, channels
from kswatch.db.alerts import outbox
from kswatch.db.alerts.outbox import MessageRow
from kswatch.db.queries.basic import alert, devices
from kswatch.db.store import Store
from kswatch.errors import KswatchError

TELL_EVERY_S = 30.0
STOP_WITHIN_S = 10.0
"""A message under way may end; the process does not wait longer for a channel that hangs."""

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Told:
    """What became of one look into the outbox."""

    sent: int = 0
    failed: int = 0
    """Tries that a channel did not take; they are tried again."""
    waiting: int = 0
    """Messages that no channel took yet."""
    faults: tuple[str, ...] = ()
    """URLs that are none, and channels that did not take a message; without secrets."""


def tell(store: Store, now: Clock = lambda: datetime.now(UTC)) -> Told:
    """Address news to the channels of the environment, and send what is due.

    Safe to call from several processes at once, and again after one of them died: see db/alerts/outbox.py for
    the one case in which a channel gets a message twice.
    """
    found, faults = channels()
    by_name = {one.name: one for one in found}
    outbox.address(store, list(by_name), lambda news: body_of(store, news))
    sent, failed = 0, list[str]()
    while found and (message := outbox.claim(store, by_name, now())) is not None:
        why = by_name[message.channel].send(f"kswatch {message.title}", message.body)
        if why is None:
            outbox.mark_sent(store, message.id, now())
            sent += 1
        else:
            at = outbox.mark_failed(store, message, why, now())
            failed.append(f"{message.channel}: {why}; next try {at:%Y-%m-%d %H:%M:%S} UTC")
    left = outbox.messages(store, (outbox.QUEUED, outbox.SENDING))
    waiting = sum(one.channel != outbox.EVERYONE for one in left)
    return Told(sent, len(failed), waiting, (*faults, *failed))


def notify(store: Store) -> list[str]:
    """The same for commands whose business is another: gives what a person should know; never raises."""
    told = tell(store)
    later = f"; {told.waiting} messages wait, `kswatch alerts outbox` lists them" if told.waiting else ""
    return [f"{fault}{later}" for fault in told.faults]


@contextmanager
def telling_regularly(database_url: str, every_s: float = TELL_EVERY_S) -> Iterator[None]:
    """While inside, a thread with a store of its own sends what is due, at once and then again and again.

    A channel that is slow or down so costs nobody else time.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_keep_telling, args=(database_url, every_s, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_WITHIN_S)


def _keep_telling(database_url: str, every_s: float, stop: threading.Event) -> None:
    said: list[str] = []
    while True:
        try:
            with closing(Store.open(database_url, create=False)) as store:
                sentences = notify(store)
        except KswatchError as error:  # the store is busy or away: the next look may find it
            sentences = [str(error)]
        for sentence in sentences:
            if sentence not in said:  # each once, not every half minute
                print(f"kswatch: {sentence}", file=sys.stderr, flush=True)
        said = sentences
        if stop.wait(every_s):
            return


def body_of(store: Store, news: MessageRow) -> str:
    """What people read: the alert, where, and what differs from the last good run to the first bad one."""
    if news.alert_id is None:
        return news.title
    one = alert(store, news.alert_id)
    device = next(device for device in devices(store) if device.id == one.device_id)
    where = f"on {device.model} ({device.uuid}){', simulated' if device.simulated else ''}"
    lines = [one.title, where, *differences(one), f"kswatch alerts show {one.id}"]
    return "\n".join(lines)


def outbox_lines(messages: Sequence[MessageRow], found: Sequence[Channel]) -> str:
    """One line for each message, for a terminal."""
    from kswatch.ci.formats.escape import plain

    if not messages:
        return "the outbox is empty"
    known = {one.name for one in found}
    lines = []
    for one in messages:
        channel = "no channel yet" if one.channel == outbox.EVERYONE else one.channel
        gone = one.state == outbox.QUEUED and one.channel not in known
        note = f" (not in {CHANNELS} now)" if gone and one.channel != outbox.EVERYONE else ""
        tries = f", {one.attempts} tries" if one.attempts else ""
        error = f": {one.error}" if one.error else ""
        when = f"{one.sent_at or one.next_try_at:%Y-%m-%d %H:%M:%S} UTC"
        lines.append(f"{one.id:>5}  {one.state:<9} {when}  {channel}{note}{tries}{error}  {plain(one.title)}")
    return "\n".join(lines)

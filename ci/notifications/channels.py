"""The notification channels: Apprise URLs of the environment, which hold secrets.

Only a channel's scheme and number are ever shown or stored; Apprise's own log is kept from the terminal,
since it quotes URLs.
"""

from __future__ import annotations

import difflib
import io
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

CHANNELS = "KSWATCH_NOTIFY"
"""Environment variable with Apprise URLs, separated by spaces: they hold secrets, so no file does."""
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]{0,20})://")
_HTTP_STATUS = re.compile(r"error=(\d{3})\b")


@dataclass(frozen=True)
class Channel:
    """One channel; `name` is safe to show."""

    name: str
    _target: Any

    def send(self, title: str, body: str) -> str | None:
        """Send a message; returns the reason where it was not accepted, else None."""
        import apprise

        with _apprise_log() as logged:
            try:
                taken = self._target.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
            except Exception as error:  # a plugin's defect; its text may quote the URL
                return f"sending raised {type(error).__name__}"
        if taken:
            return None
        status = _HTTP_STATUS.search(logged.getvalue())
        return f"it answered HTTP {status[1]}" if status else "it could not be reached, or refused"


def channels() -> tuple[list[Channel], list[str]]:
    """The channels of the environment, and a sentence on each invalid URL, without its secret."""
    import apprise

    found: list[Channel] = []
    faults = []
    seen: Counter[str] = Counter()
    for number, url in enumerate(os.environ.get(CHANNELS, "").split(), start=1):
        with _apprise_log():
            target = apprise.Apprise.instantiate(url)
        if target is None:
            faults.append(_fault(number, url))
            continue
        scheme = _SCHEME.match(url)
        name = scheme[1].lower() if scheme else "channel"
        seen[name] += 1
        found.append(Channel(name if seen[name] == 1 else f"{name} {seen[name]}", target))
    return found, faults


def _fault(number: int, url: str) -> str:
    """The problem of a URL, of which nothing but the scheme is quoted."""
    where = f"channel {number} in {CHANNELS}"
    scheme = _SCHEME.match(url)
    if scheme is None:
        return f"{where} is not a URL (it has no scheme such as json://); see github.com/caronc/apprise"
    from apprise.manager_plugins import NotificationManager

    known, name = sorted(NotificationManager().schemas()), scheme[1].lower()
    if name in known:
        return f"{where} is no {name}:// URL in Apprise's form; see github.com/caronc/apprise"
    close = difflib.get_close_matches(name, known, n=1)
    suggestion = f"; did you mean {close[0]}://?" if close else "; see github.com/caronc/apprise"
    return f"{where} begins with {name}://, which Apprise does not know{suggestion}"


@contextmanager
def _apprise_log() -> Iterator[io.StringIO]:
    """Capture the log of Apprise, which quotes URLs."""
    logged = io.StringIO()
    logger = logging.getLogger("apprise")
    handler = logging.StreamHandler(logged)
    before = (logger.propagate, logger.level, logger.handlers[:])
    logger.propagate, logger.handlers = False, [handler]
    logger.setLevel(logging.WARNING)
    try:
        yield logged
    finally:
        logger.propagate, logger.handlers = before[0], before[2]
        logger.setLevel(before[1])

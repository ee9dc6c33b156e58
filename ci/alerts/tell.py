"""Telling people: what is new and sure goes once to the channels named in the environment.

What is only provisional stands in the reports; a channel hears of it when it is confirmed.
"""

from __future__ import annotations

import os

from ci.alerts.raising import ToldAlert
from ci.check import Judged
from ci.evidence import LEVEL_CAUSES
from kswatch_errors import ConfigurationError

CHANNELS = "KSWATCH_NOTIFY"
"""Environment variable with Apprise URLs, separated by spaces: they hold secrets, so no file does."""


def notify(judged: Judged) -> int:
    """Send what is new about alerts; gives how many alerts were told, 0 where no channel is named.

    Raises:
        ConfigurationError: a channel's URL is none that Apprise knows, or none took the message.
    """
    urls = os.environ.get(CHANNELS, "").split()
    new = [told for one in judged.judgements for told in one.alerts if _worth_telling(told)]
    if not urls or not new:
        return 0
    _send(urls, f"kswatch: {len(new)} new", "\n".join(_line(told) for told in new))
    return len(new)


def _worth_telling(told: ToldAlert) -> bool:
    sure = told.alert.confirmed or told.alert.cause not in LEVEL_CAUSES
    return told.news is not None and sure and told.alert.state != "muted"


def _line(told: ToldAlert) -> str:
    return f"alert {told.alert.id} {told.news}: {told.alert.title}"


def _send(urls: list[str], title: str, body: str) -> None:
    import apprise

    channels = apprise.Apprise()
    for number, url in enumerate(urls, start=1):
        if not channels.add(url):
            raise ConfigurationError(
                f"channel {number} in {CHANNELS} is no URL that Apprise knows; see github.com/caronc/apprise"
            )
    if not channels.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
        raise ConfigurationError(
            f"a channel in {CHANNELS} did not take the message; check its URL and network"
        )

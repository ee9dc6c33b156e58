"""Calls a URL after each night, so that an outside watch misses a night that did not happen.

The URL is a secret of its service: only its environment variable is configured.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from kswatch.profiler.config import ProfilerConfig

TIMEOUT_S = 10.0


def call(config: ProfilerConfig) -> bool:
    """Call the URL, if one is configured; a URL that fails is told and fails nothing."""
    name = config.heartbeat_url_variable
    if not name:
        return False
    url = os.environ.get(name, "")
    if urlsplit(url).scheme not in ("http", "https"):
        _say(f"the environment variable {name} holds no http URL")
        return False
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):
            return True
    except (OSError, ValueError) as error:  # URLError is an OSError; its words hold no URL
        _say(f"the URL in {name} does not answer: {error}")
        return False


def _say(sentence: str) -> None:
    print(f"note: heartbeat: {sentence}", file=sys.stderr, flush=True)

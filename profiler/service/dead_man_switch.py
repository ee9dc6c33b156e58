"""Calls a URL after each night, so that an external monitor reports a night that did not happen.

The URL is a secret of its service: only its environment variable is configured.
"""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from kswatch.profiler.config import ProfilerConfig

_log = logging.getLogger(__name__)

TIMEOUT_S = 10.0


def ping(config: ProfilerConfig) -> bool:
    """Call the configured URL, if any; whether it answered. A failure is only logged."""
    name = config.heartbeat_url_variable
    if not name:
        return False
    url = os.environ.get(name, "")
    if urlsplit(url).scheme not in ("http", "https"):
        _log.warning("heartbeat: the environment variable %s holds no http URL", name)
        return False
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):
            return True
    except (OSError, ValueError) as error:  # URLError is an OSError; its message holds no URL
        _log.warning("heartbeat: the URL in %s does not answer: %s", name, error)
        return False

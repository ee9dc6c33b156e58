"""The folder of compiled code."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$KSWATCH_CACHE`, else `kswatch` below `$XDG_CACHE_HOME` or `~/.cache`."""
    chosen = os.environ.get("KSWATCH_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kswatch"

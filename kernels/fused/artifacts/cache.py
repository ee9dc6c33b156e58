"""The cache folder for compiled code, and the atomic replacement of its files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """`$KSWATCH_CACHE`, else `kswatch` below `$XDG_CACHE_HOME` or `~/.cache`."""
    chosen = os.environ.get("KSWATCH_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kswatch"


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file by a rename, so that no other process sees it partially written; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="writing-", delete=False) as file:
        file.write(content)
    os.chmod(file.name, mode)
    os.replace(file.name, path)

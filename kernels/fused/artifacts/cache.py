"""The cache folder for compiled code, and the atomic replacement of its files.

What lies there is loaded and run. So a folder that another user owns, or may write to, is not used: a private
one is, and `cache_refusal` has the reason.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from functools import cache
from pathlib import Path

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """`$KSWATCH_CACHE`, else `kswatch` below `$XDG_CACHE_HOME` or `~/.cache`; a private one if unsafe."""
    folder = _chosen_folder()
    reason = "this user has no home folder" if folder is None else _unsafe(folder)
    return folder if folder is not None and reason is None else _private_folder(str(reason))


def cache_refusal() -> str | None:
    """Why the cache folder is not the one that was chosen, with the cure; None where it is."""
    folder = _chosen_folder()
    if folder is None:
        return "this user has no home folder; name a cache folder in KSWATCH_CACHE"
    reason = _unsafe(folder)
    return f"{reason}; make it yours alone (chmod 700), or name another in KSWATCH_CACHE" if reason else None


def _chosen_folder() -> Path | None:
    chosen = os.environ.get("KSWATCH_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache") / "kswatch"
    except RuntimeError:  # neither HOME nor an entry in passwd
        return None


def _unsafe(folder: Path) -> str | None:
    """Why another user could put code into the folder; None where nobody can, and where it does not exist."""
    try:
        status = folder.stat()
        above = folder.parent.stat()
    except OSError:
        return None  # creating it will fail with the reason
    if status.st_uid != os.geteuid():
        return f"the cache folder {folder} belongs to another user"
    if _is_open(status):
        return f"other users may write to the cache folder {folder}"
    if _is_open(above) and not above.st_mode & stat.S_ISVTX:
        return f"other users may replace the cache folder {folder}"
    return None


def _is_open(status: os.stat_result) -> bool:
    """Whether other users may write: a group of the same number as the user holds that user alone."""
    group = status.st_mode & stat.S_IWGRP and status.st_gid != status.st_uid
    return bool(group or status.st_mode & stat.S_IWOTH)


@cache
def _private_folder(reason: str) -> Path:
    """A folder that only this user may enter: the same for all processes where nobody took its name."""
    folder = Path(tempfile.gettempdir()) / f"kswatch-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        is_private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not _is_open(status)
    except OSError:
        is_private = False
    if not is_private:
        folder = Path(tempfile.mkdtemp(prefix="kswatch-"))
    _log.warning("%s: compiled code is kept in %s instead", reason, folder)
    return folder


def replace_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file by a rename, so that no other process sees it partially written; creates its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix="writing-", delete=False) as file:
        file.write(content)
    os.chmod(file.name, mode)
    os.replace(file.name, path)

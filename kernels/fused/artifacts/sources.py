"""Source files that are compiled and hashed."""

from __future__ import annotations

from pathlib import Path

from kswatch.errors import UnsupportedError


def source_files(folder: Path, *patterns: str) -> list[Path]:
    """The files of a folder that match any of the glob patterns, sorted.

    Raises:
        UnsupportedError: a pattern matches no file, so the hash would not cover all sources.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matches = set(folder.glob(pattern))
        if not matches:
            raise UnsupportedError(
                f"{folder} has no {pattern}: the installation is incomplete; reinstall kswatch"
            )
        found |= matches
    return sorted(found)

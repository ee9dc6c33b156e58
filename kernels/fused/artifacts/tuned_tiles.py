"""Tiles that a search found best: a readable table per architecture, `tables/ARCHITECTURE.toml`.

A table names tiles as `str(tile)` writes them. A name that no candidate answers to any more is passed
over, so that a table can be out of date but never wrong.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from kswatch.errors import UsageError
from kswatch.kernels.problem import Problem

TABLES = Path(__file__).parents[1] / "tables"

HEADER = """\
# The fastest tiles that `kswatch tune` found for {architecture}; any other problem goes by the model.
# `kswatch tune --export` writes this file. A tile that the kernel no longer has is passed over.
"""


def tile_name(problem: Problem, architecture: str) -> str | None:
    """The tuned tile of exactly this problem, as the table names it; None where there is none."""
    return tiles_of(table_path(architecture)).get(str(problem))


def table_path(architecture: str) -> Path:
    """The table of an architecture, in `$KSWATCH_TILES` or beside the kernel."""
    return Path(os.environ.get("KSWATCH_TILES") or TABLES) / f"{architecture}.toml"


def cpu_architecture(lanes: int) -> str:
    """What a CPU's table is named by: its family and how many floats a vector holds."""
    return f"{platform.machine()}_{lanes}_lanes"


def tiles_of(path: Path) -> Mapping[str, str]:
    """Tile by problem, both in words; empty without a file.

    Raises:
        UsageError: the file is no such table.
    """
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError:
        return {}
    return _read(path, changed_ns)


@lru_cache(maxsize=64)
def _read(path: Path, changed_ns: int) -> Mapping[str, str]:
    del changed_ns
    try:
        tiles = tomllib.loads(path.read_text(encoding="utf-8"))["tiles"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError) as error:
        raise UsageError(
            f"{path} is no table of tiles ({error}); remove it, or write it by `kswatch tune --export`"
        ) from error
    if not isinstance(tiles, dict) or not all(isinstance(name, str) for name in tiles.values()):
        raise UsageError(
            f'{path}: [tiles] must hold lines like "(6,64,64,1) batch 64 fp32 batch_last" = "TILE"'
        )
    return tiles


def write(path: Path, architecture: str, tiles: Mapping[Problem, str]) -> int:
    """Add tiles to a table, or begin one; gives how many it then holds.

    Raises:
        UsageError: the file is there and is no table.
    """
    merged = dict(tiles_of(path)) | {str(problem): name for problem, name in tiles.items()}
    lines = [f'"{problem}" = "{name}"\n' for problem, name in sorted(merged.items())]
    text = HEADER.format(architecture=architecture) + "\n[tiles]\n" + "".join(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)
    return len(merged)


def source_hash(*paths: Path) -> str:
    """sha256 over the kernel's sources: tiles are searched anew when they change."""
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sorted(paths))).hexdigest()

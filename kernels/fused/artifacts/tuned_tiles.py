"""Tables of tuned tiles, one readable file per architecture: `tables/ARCHITECTURE.toml`.

A table names tiles by `str(tile)`. A name that matches no candidate is ignored, so an outdated table costs
time but never correctness.
"""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from kswatch.errors import UsageError
from kswatch.kernels.fused.artifacts.cache import replace_file
from kswatch.kernels.problem import Problem

TABLES = Path(__file__).parents[1] / "tables"

HEADER = """\
# The fastest tiles that `kswatch tune` found for {architecture}; the model chooses for all other problems.
# `kswatch tune --export` writes this file. A tile that the kernel no longer has is ignored.
"""


def tile_name(problem: Problem, architecture: str) -> str | None:
    """The name of the tuned tile for exactly this problem; None where the table has none."""
    return read_table(table_path(architecture)).get(str(problem))


def table_path(architecture: str) -> Path:
    """The table of an architecture, in `$KSWATCH_TILES` or beside the kernel."""
    return Path(os.environ.get("KSWATCH_TILES") or TABLES) / f"{architecture}.toml"


def cpu_architecture(vector_width: int) -> str:
    """The architecture name of a CPU: its family and the number of floats in a vector."""
    return f"{platform.machine()}_{vector_width}_lanes"


def read_table(path: Path) -> Mapping[str, str]:
    """The name of the tile for each problem, written as text; empty without a file.

    Raises:
        UsageError: the file is not a table of tiles.
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
            f"{path} is not a table of tiles ({error}); remove it, or write it with `kswatch tune --export`"
        ) from error
    if not isinstance(tiles, dict) or not all(isinstance(name, str) for name in tiles.values()):
        raise UsageError(
            f'{path}: [tiles] must hold lines like "(6,64,64,1) batch 64 fp32 batch_last" = "TILE"'
        )
    return tiles


def write(path: Path, architecture: str, tiles: Mapping[Problem, str]) -> int:
    """Add tiles to a table, or create it; the number of tiles that it then holds.

    Raises:
        UsageError: the file exists and is not a table.
    """
    merged = dict(read_table(path)) | {str(problem): name for problem, name in tiles.items()}
    lines = [f'"{problem}" = "{name}"\n' for problem, name in sorted(merged.items())]
    text = HEADER.format(architecture=architecture) + "\n[tiles]\n" + "".join(lines)
    replace_file(path, text.encode(), mode=0o644)
    return len(merged)

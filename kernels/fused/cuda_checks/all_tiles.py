"""Every tile that can be chosen, and those of them that spill: many tiles in one run of nvcc.

The budget lists a few kernels in full; this module finds a spill in any other, in under a second a tile.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import FLAGS, SOURCE_FOLDER, TIMEOUT_S, find_nvcc
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.tile_candidates import candidates
from kswatch.kernels.fused.cuda_chain.tile import ChainTile
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import ELEMENT_BYTES, LAYOUTS, PRECISIONS, Problem

ROWS = 16
COLUMNS = (16, 64, 96, 128, 256, 512, 1024, 2048)
NEIGHBOURS = (1, 2, 3, 5, 8, 9, 16, 17, 32)
BATCHES = (64, 401_408)
"""Sizes between which the candidates change: groups of j's, few blocks, which are split into parts, and
enough of them for walkers. More rows only make more blocks."""

TILES_AT_ONCE = 24
"""In one translation unit, which shares the time of the compiler's front end."""
Unit = TypeVar("Unit", Tile, ChainTile)
REPORT = re.compile(
    r"Function properties for ks_(\d+)_\n"
    r"\s*(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
)


def choosable_tiles(gpu: GpuProperties) -> list[Tile]:
    """A tile for each kernel of fused.cu that a problem, or its less aligned addresses, can have on the GPU.

    All candidates: a table of tuned tiles may name any of them, also one that the model never prefers.
    """
    found: dict[str, Tile] = {}
    for problem in problems():
        if gpu.supports(problem):
            for candidate in candidates(problem, gpu):
                for tile in with_fewer_stages(candidate):
                    for narrow in with_narrow_accesses(tile):
                        found.setdefault(narrow.parameters, narrow)
    return list(found.values())


def problems() -> Iterator[Problem]:
    """Problems that together have every candidate, in all precisions and layouts."""
    sizes = itertools.product(COLUMNS, NEIGHBOURS, BATCHES)
    for (c, d, batch), precision, layout in itertools.product(sizes, PRECISIONS, LAYOUTS):
        yield Problem(Pattern(1, ROWS, c, d), batch, precision, layout)


def with_fewer_stages(tile: Tile) -> Iterator[Tile]:
    """The tile; for walkers also with fewer stages, as other numbers of columns leave room for."""
    for stages in range(2 if tile.walkers else tile.stages, tile.stages + 1):
        yield replace(tile, stages=stages)


def with_narrow_accesses(tile: Tile) -> Iterator[Tile]:
    """The tile, and its variants for addresses that are less aligned, as `raw_launch` makes them."""
    width = tile.vector_bytes
    while width >= ELEMENT_BYTES[tile.precision]:
        yield replace(tile, vector_bytes=width)
        width //= 2


def spilling(tiles: Sequence[Unit], architecture: int) -> list[tuple[Unit, int]]:
    """The tiles whose threads use local memory, with the bytes of their stack and spills.

    Raises:
        UnsupportedError: there is no nvcc, or it fails.
    """
    found = []
    for first in range(0, len(tiles), TILES_AT_ONCE):
        some = tiles[first : first + TILES_AT_ONCE]
        found += [(tile, used) for tile, used in _local_bytes(some, architecture) if used]
    return found


def _local_bytes(tiles: Sequence[Unit], architecture: int) -> Iterable[tuple[Unit, int]]:
    nvcc = find_nvcc()
    if nvcc is None:
        raise UnsupportedError("no nvcc to compile the tiles; `pip install 'kswatch[static]'`")
    with tempfile.TemporaryDirectory(prefix="kswatch-tiles-") as folder:
        (Path(folder) / "tiles.cu").write_text(kernels_unit(tiles))
        command = [nvcc, "--cubin", *FLAGS, "-arch", f"sm_{architecture}", f"-I{SOURCE_FOLDER}", "tiles.cu"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        raise UnsupportedError(f"nvcc does not compile the tiles: {done.stderr[:200]}")
    reports = {
        int(number): sum(map(int, used)) for number, *used in REPORT.findall(done.stderr + done.stdout)
    }
    return [(tile, reports[number]) for number, tile in enumerate(tiles)]


def kernels_unit(units: Sequence[Tile | ChainTile]) -> str:
    """A translation unit with a kernel ks_0_, ks_1_, ... for each tile, or for each chain."""
    lines = [units[0].source]
    for number, unit in enumerate(units):
        runner, arguments = _runner(unit)
        cluster = unit.cluster if isinstance(unit, ChainTile) else 1
        dimensions = f" __cluster_dims__({cluster})" if cluster > 1 else ""
        lines += [
            f"namespace ks {{ using Runner{number} = {runner}; }}",
            f'extern "C" __global__ void{dimensions}',
            f"__launch_bounds__({unit.threads}, ks::Runner{number}::BLOCKS)",
            f"ks_{number}_(const ks::{arguments} arguments)",
            f"{{ ks::Runner{number}(arguments).run(); }}",
        ]
    return "\n".join(lines)


def _runner(unit: Tile | ChainTile) -> tuple[str, str]:
    """The C++ types of the kernel's object and of its parameter."""
    if isinstance(unit, Tile):
        return f"Block<Tile<{unit.parameters}>>", "Arguments"
    second = f"FromIntermediate<Tile<{unit.second.parameters}>>"
    return f"Chain<Tile<{unit.first.parameters}>, {second}, {unit.cluster}>", "ChainArguments"

"""Which warpgroup tiles were checked on a GPU, and with what result; kept beside the compiled kernels.

The CPU emulation covers neither wgmma nor TMA, so their tiles are chosen only on a GPU where
`kernels/fused/cuda_checks/trust.py` has computed correct products with them.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import torch

from kswatch.kernels.fused.artifacts.cache import cache_folder, replace_file
from kswatch.kernels.fused.cuda import driver
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.compile import source_key
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem

COMMAND = "python -m kswatch.kernels.fused.cuda_checks.trust"

CHECK_PROBLEMS = tuple(
    Problem(Pattern(*pattern), batch, precision, layout)
    for layout in LAYOUTS
    for pattern, batches in (
        ((3, 64, 64, 1), (72, 4096)),
        ((2, 72, 200, 1 if layout == "batch_first" else 3), (72, 4096)),
        ((1, 256, 512, 1), (72, 4096)),
        ((7, 264, 136, 1), (4096,)),
    )
    for batch in batches
    for precision in ("fp16", "bf16", "tf32", "fp8")
)
"""Partial tiles on every axis, a single step of c, enough steps for every stage to be reused, and enough
tiles for persistent blocks to compute several."""


def untrusted_reason(device: torch.device, tile: Tile) -> str | None:
    """Why a tile with wgmma is not chosen on this GPU, as a sentence; None where it was found correct."""
    results = read_results(device)
    group = tile_group(tile)
    if group not in results:
        return f"wgmma was never checked on this GPU; run `{COMMAND}` once"
    reason = results[group]
    return f"wgmma was wrong on this GPU: {reason}" if reason else None


def tile_group(tile: Tile) -> str:
    """The name shared by all tiles that differ only in stages and in the width of their accesses."""
    kind = " persistent" if tile.family == "persistent" else ""
    return f"{tile.precision} {tile.layout} {tile.rows}x{tile.batch}{kind}"


def checks_by_group(gpu: GpuProperties) -> dict[str, list[tuple[Problem, Tile]]]:
    """The products to check for each group of tiles; empty on a GPU without wgmma."""
    pairs: dict[str, list[tuple[Problem, Tile]]] = {}
    for problem in CHECK_PROBLEMS:
        for tile in tiles.hopper_tiles(problem, gpu):
            pairs.setdefault(tile_group(tile), []).append((problem, tile))
    return pairs


@cache
def record_path(device: torch.device) -> Path:
    """The file with the results; its name depends on the kernels' sources and on the GPU's UUID."""
    pairs = [pair for several in checks_by_group(driver.gpu_properties(device)).values() for pair in several]
    keys = sorted({source_key(tile, tiles.HOPPER) for _, tile in pairs})
    key = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
    return cache_folder() / f"trusted-{key}-{torch.cuda.get_device_properties(device).uuid}.json"


def read_results(device: torch.device) -> dict[str, str | None]:
    """The failure of each checked group of tiles; None for a group that was correct."""
    try:
        return dict(json.loads(record_path(device).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def write_result(device: torch.device, group: str, reason: str | None) -> None:
    """Add the result of one group of tiles to the file."""
    results = {**read_results(device), group: reason}
    replace_file(record_path(device), json.dumps(results).encode())

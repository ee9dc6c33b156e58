"""The tiles that a search tries for a problem, each as an implementation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch

from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.fused.artifacts.sources import source_files
from kswatch.kernels.fused.cpu_twin import build as twin_build
from kswatch.kernels.fused.cpu_twin import tiles as twin_tiles
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cpu_twin.tiles import TwinTile
from kswatch.kernels.fused.cuda import driver, estimate, launch
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.implementation import Implementation, Product
from kswatch.kernels.problem import Problem

MODEL_FACTOR = 2.0
"""A tile whose estimate exceeds the best one by more than this factor is not tried."""


@dataclass(frozen=True)
class Candidate:
    """A tile to try, and its estimate."""

    tile: Tile | TwinTile
    cycles: float
    """Estimated cycles of one multiprocessor or core."""

    @property
    def name(self) -> str:
        """The tile's name in the table and in the store."""
        return str(self.tile)


class TiledFused(Implementation):
    """The fused product with a given tile."""

    def __init__(self, candidate: Candidate, name: str) -> None:
        self.name = name
        self._tile = candidate.tile

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """See `Implementation`; the same for every tile."""
        return launch.unsupported(problem, device) if device.type == "cuda" else twin.unsupported(problem)

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """See `Implementation`.

        Raises:
            UnsupportedError: the tile does not compile, or the product is not available on the device.
        """
        if isinstance(self._tile, TwinTile):
            return twin.prepare(problem, weights, self._tile)
        return launch.prepare(problem, weights, tile=self._tile)

    def tile(self, problem: Problem, device: torch.device) -> str:
        """The given tile, readable."""
        return str(self._tile)


def candidates(problem: Problem, device: torch.device, most: int) -> list[Candidate]:
    """The tile that is chosen without tuning, then the others by their estimate; at most `most` in all."""
    if device.type == "cuda":
        device = launch.with_index(device)
        cycles = partial(estimate.cycles, problem, gpu=driver.gpu_properties(device))
        every = [Candidate(tile, cycles(tile)) for tile in launch.candidates(problem, device)]
        first = min(every, key=lambda candidate: candidate.cycles)
    else:
        limits = twin.require_twin().limits
        every = [
            Candidate(tile, twin_tiles.cycles(problem, tile, limits))
            for tile in twin_tiles.candidates(problem, limits)
        ]
        first = every[0]
    bound = MODEL_FACTOR * min(candidate.cycles for candidate in every)
    others = sorted(
        (candidate for candidate in every if candidate is not first), key=lambda candidate: candidate.cycles
    )
    return [first, *islice((candidate for candidate in others if candidate.cycles <= bound), most - 1)]


def architecture(device: torch.device) -> str:
    """The name of the device's table of tiles."""
    if device.type == "cuda":
        return f"sm_{driver.gpu_properties(launch.with_index(device)).architecture}"
    return tuned.cpu_architecture(twin.require_twin().limits.vector_width)


def source_hash(device: torch.device) -> str:
    """sha256 over the sources of the kernel on the device; tiles are tuned again when it changes."""
    cuda = device.type == "cuda"
    paths = source_files(SOURCE_FOLDER, "*.cu", "*.cuh") if cuda else sorted(twin_build.sources())
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()

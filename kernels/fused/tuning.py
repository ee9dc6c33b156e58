"""What a search for tiles needs of the fused product: the candidates, each as an implementation."""

from __future__ import annotations

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
"""A tile that should take so many times longer than the best is not tried."""


@dataclass(frozen=True)
class Candidate:
    """A tile to try, and what the model says of it."""

    tile: Tile | TwinTile
    cycles: float
    """Estimated, of one multiprocessor or core."""

    @property
    def name(self) -> str:
        """As the table and the store write it."""
        return str(self.tile)


class TiledFused(Implementation):
    """The fused product with a tile that it did not choose itself."""

    def __init__(self, candidate: Candidate, name: str) -> None:
        self.name = name
        self._tile = candidate.tile

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """What the fused product says, whatever its tile."""
        return launch.unsupported(problem, device) if device.type == "cuda" else twin.unsupported(problem)

    def prepare(self, problem: Problem, weights: torch.Tensor) -> Product:
        """See `Implementation`.

        Raises:
            UnsupportedError: the tile does not compile, or the product is not to be had here.
        """
        if isinstance(self._tile, TwinTile):
            return twin.prepare(problem, weights, self._tile)
        return launch.prepare(problem, weights, tile=self._tile)

    def tile(self, problem: Problem, device: torch.device) -> str:
        """Its own."""
        return str(self._tile)


def candidates(problem: Problem, device: torch.device, most: int) -> list[Candidate]:
    """The tile that goes by the model, then the best of the others by its estimate, `most` in all."""
    if device.type == "cuda":
        device = launch.indexed(device)
        cycles = partial(estimate.cycles, problem, machine=driver.machine(device))
        every = [Candidate(tile, cycles(tile)) for tile in launch.candidates(problem, device)]
        first = min(every, key=lambda candidate: candidate.cycles)
    else:
        limits = twin.loaded().limits
        every = [
            Candidate(tile, twin_tiles.cycles(problem, tile, limits))
            for tile in twin_tiles.candidates(problem, limits)
        ]
        first = every[0]
    bound = MODEL_FACTOR * min(candidate.cycles for candidate in every)
    others = sorted((one for one in every if one is not first), key=lambda candidate: candidate.cycles)
    return [first, *islice((one for one in others if one.cycles <= bound), most - 1)]


def architecture(device: torch.device) -> str:
    """What the device's table of tiles is named by."""
    if device.type == "cuda":
        return f"sm_{driver.machine(launch.indexed(device)).architecture}"
    return tuned.cpu_architecture(twin.loaded().limits.lanes)


def source_hash(device: torch.device) -> str:
    """sha256 over the sources whose tiles are searched there."""
    if device.type == "cuda":
        return tuned.source_hash(*source_files(SOURCE_FOLDER, "*.cu", "*.cuh"))
    return tuned.source_hash(*twin_build.sources())

"""What starts the kernels of a tile, given nothing but the addresses of X and Y.

All that a launch needs lies in closures: attributes and methods of an object would take as long again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import driver, tensor_map
from kswatch.kernels.fused.cuda.arguments import pack_arguments, pack_numbers
from kswatch.kernels.fused.cuda.tile import SUM_THREADS, Tile, ceil
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.problem import Problem

Start = Callable[..., None]
"""`start(x, y)` launches on torch's current stream for two addresses; it keeps weights and bias alive."""

MAPS = 64
"""Tensor maps that a product keeps: inputs come from few places again and again."""


@dataclass(frozen=True)
class Operands:
    """What every launch of a product reads."""

    problem: Problem
    weights: torch.Tensor
    """As the tile reads them."""
    bias: torch.Tensor | None


def starter(
    problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None, tile: Tile, plain: Tile
) -> Start:
    """What computes the whole product by a tile; `plain` takes over where wgmma's cannot."""
    operands = Operands(problem, lay_out(weights, tile), bias)
    if tile.family == "warpgroups":
        return _with_maps(operands, tile, starter(problem, weights, bias, plain, plain))
    return _in_parts(operands, tile) if tile.parts > 1 else _in_one(operands, tile)


def _in_one(operands: Operands, tile: Tile) -> Start:
    """Accesses are as wide as the addresses allow; a view may start anywhere."""
    by_width: dict[int, Start] = {}

    def narrower(addresses: int) -> Start:
        width = tile.vector_bytes
        while addresses % width:
            width //= 2
        if width not in by_width:
            by_width[width] = _product(operands, tile.with_vectors(width), None)
        return by_width[width]

    return _product(operands, tile, narrower)


def _in_parts(operands: Operands, tile: Tile) -> Start:
    """The parts' sums, then what adds them up."""
    elements = operands.problem.output_bytes // operands.problem.element_bytes
    multiply = _in_one(operands, tile)
    add_up = _launch(operands, tile, driver.SECOND_PASS, ceil(elements, SUM_THREADS), SUM_THREADS, 0)
    device = operands.weights.device

    def start(x: int, y: int) -> None:
        sums = torch.empty((tile.parts, elements), dtype=torch.float32, device=device)
        multiply(x, sums.data_ptr())
        add_up(sums.data_ptr(), y)

    return start


def _with_maps(operands: Operands, tile: Tile, plain: Start) -> Start:
    """X by a tensor map; one that TMA cannot take goes to `plain`."""
    multiply = _in_one(operands, tile)
    maps: dict[int, bytes] = {}

    def start(x: int, y: int) -> None:
        if x % tensor_map.ADDRESS_BYTES:
            return plain(x, y)
        known = maps.get(x)
        if known is None:
            if len(maps) == MAPS:
                maps.clear()
            known = maps[x] = tensor_map.encode(operands.problem, tile, x)
        multiply(x, y, known)

    return start


def _product(operands: Operands, tile: Tile, narrower: Callable[[int], Start] | None) -> Start:
    blocks = tile.blocks(operands.problem)
    return _launch(operands, tile, driver.PRODUCT, blocks, tile.threads, tile.launch_bytes, narrower)


def _launch(
    operands: Operands,
    tile: Tile,
    name: str,
    blocks: int,
    threads: int,
    shared_bytes: int,
    narrower: Callable[[int], Start] | None = None,
) -> Start:
    device, grid, block = operands.weights.device, (blocks, 1, 1), (threads, 1, 1)
    compiled = compiler.cubin(tile, driver.machine(device).architecture)
    kernel = driver.load(compiled, device, name, shared_bytes)
    weights = operands.weights.data_ptr()
    bias = 0 if operands.bias is None else operands.bias.data_ptr()
    numbers = pack_numbers(operands.problem, tile)
    width = tile.vector_bytes

    def launch(x: int, y: int, tensor_map: bytes = b"") -> None:
        if narrower and (x | y) % width:
            return narrower(x | y)(x, y, tensor_map)
        packed = pack_arguments(x, weights, bias, y, numbers)
        if tensor_map:
            packed = tensor_map + packed
        stream = driver.direct_stream(device)
        if stream is driver.NOT_DIRECTLY:
            start = partial(kernel, grid, block, packed, shared_bytes)
            driver.on_current_stream(operands.weights.device, start)
        else:
            kernel(grid, block, packed, shared_bytes, stream)

    return launch

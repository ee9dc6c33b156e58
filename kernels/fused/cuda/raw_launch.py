"""Launches the kernels of a tile, given only the addresses of X and Y.

Everything that a launch needs is kept in closures: looking up attributes and methods of an object would
take as long as the rest of the launch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import torch

from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import driver, tensor_map
from kswatch.kernels.fused.cuda.arguments import pack_arguments, pack_numbers
from kswatch.kernels.fused.cuda.tile import SUM_THREADS, KernelUnit, Tile, ceil_div
from kswatch.kernels.fused.cuda.weight_layout import WeightLayout, lay_out
from kswatch.kernels.problem import Problem

RawLaunch = Callable[..., None]
"""`raw_launch(x, y)` launches on torch's current stream for two addresses; it owns weights and bias."""

MAX_TENSOR_MAPS = 64
"""Tensor maps that a product keeps: inputs tend to reuse a few addresses."""


@dataclass(frozen=True)
class Operands:
    """The operands that are the same in every launch of a product."""

    problem: Problem
    weights: torch.Tensor
    """In the layout of the tile."""
    bias: torch.Tensor | None


def make_raw_launch(
    problem: Problem,
    weights: torch.Tensor,
    bias: torch.Tensor | None,
    tile: Tile,
    fallback: Tile,
    layout: WeightLayout | None = None,
) -> RawLaunch:
    """A launch of the whole product by a tile; inputs that TMA cannot read go to the `fallback` tile.

    `layout` is for a single call, which lays out the weights for the fallback only if it needs it.
    """
    operands = Operands(problem, (layout or lay_out)(weights, tile), bias)
    if tile.needs_trust:
        unaligned = cache(lambda: make_raw_launch(problem, weights, bias, fallback, fallback, layout))
        if layout is None:
            unaligned()  # now, since the weights may be changed later
        return _with_tensor_maps(operands, tile, lambda x, y: unaligned()(x, y))
    return _two_pass(operands, tile) if tile.parts > 1 else _single_pass(operands, tile)


def _single_pass(operands: Operands, tile: Tile) -> RawLaunch:
    """One launch, with accesses as wide as the addresses allow; a view may start anywhere."""
    by_width: dict[int, RawLaunch] = {}

    def narrower(addresses: int) -> RawLaunch:
        width = tile.vector_bytes
        while addresses % width:
            width //= 2
        if width not in by_width:
            by_width[width] = _product_launch(operands, replace(tile, vector_bytes=width), None)
        return by_width[width]

    return _product_launch(operands, tile, narrower)


def _two_pass(operands: Operands, tile: Tile) -> RawLaunch:
    """The sums of the parts of c, then a second launch that adds them up."""
    elements = operands.problem.output_bytes // operands.problem.output_element_bytes
    multiply = _single_pass(operands, tile)
    blocks = ceil_div(elements, SUM_THREADS)
    add_up = _kernel_launch(operands, tile, driver.SECOND_PASS, blocks, SUM_THREADS, 0)
    device = operands.weights.device
    dtype = operands.weights.dtype if tile.sum_bytes > 4 else torch.float32

    def launch(x: int, y: int) -> None:
        sums = torch.empty((tile.parts, elements), dtype=dtype, device=device)
        multiply(x, sums.data_ptr())
        add_up(sums.data_ptr(), y)

    return launch


def _with_tensor_maps(operands: Operands, tile: Tile, fallback: RawLaunch) -> RawLaunch:
    """A launch that reads X through a tensor map for its address, and may write Y through another one.

    Addresses that are not aligned for a map go to `fallback`.
    """
    multiply = _single_pass(operands, tile)
    persistent = tile.family == "persistent"
    maps: dict[tuple[int, int], bytes] = {}

    def launch(x: int, y: int) -> None:
        mapped = (x, y if persistent else 0)
        if (mapped[0] | mapped[1]) % tensor_map.ADDRESS_BYTES:
            return fallback(x, y)
        known = maps.get(mapped)
        if known is None:
            if len(maps) == MAX_TENSOR_MAPS:
                maps.clear()
            known = tensor_map.encode(operands.problem, tile, x)
            if persistent:
                known += tensor_map.encode_output(operands.problem, tile, y)
            maps[mapped] = known
        multiply(x, y, known)

    return launch


def _product_launch(operands: Operands, tile: Tile, narrower: Callable[[int], RawLaunch] | None) -> RawLaunch:
    blocks = tile.blocks(operands.problem)
    return _kernel_launch(operands, tile, driver.PRODUCT, blocks, tile.threads, tile.launch_bytes, narrower)


def _kernel_launch(
    operands: Operands,
    tile: Tile,
    name: str,
    blocks: int,
    threads: int,
    shared_bytes: int,
    narrower: Callable[[int], RawLaunch] | None = None,
) -> RawLaunch:
    start = kernel_start(tile, operands.weights.device, name, (blocks, threads, shared_bytes))
    weights = operands.weights.data_ptr()
    bias = 0 if operands.bias is None else operands.bias.data_ptr()
    numbers = pack_numbers(operands.problem, tile)
    width = tile.vector_bytes

    def launch(x: int, y: int, tensor_map: bytes = b"") -> None:
        if narrower and (x | y) % width:
            return narrower(x | y)(x, y, tensor_map)
        packed = pack_arguments(x, weights, bias, y, numbers)
        start(tensor_map + packed if tensor_map else packed)

    launch.kept_alive = operands  # type: ignore[attr-defined]
    return launch


KernelStart = Callable[[bytes], None]
"""`start(packed)` launches a kernel with these arguments on torch's current stream."""


def kernel_start(
    unit: KernelUnit, device: torch.device, name: str, shape: tuple[int, int, int]
) -> KernelStart:
    """The launch of a compiled kernel; `shape` is (blocks, threads, bytes of shared memory)."""
    blocks, threads, shared_bytes = shape
    grid, block = (blocks, 1, 1), (threads, 1, 1)
    compiled = compiler.cubin(unit, driver.gpu_properties(device).architecture)
    kernel = driver.load(compiled, device, name, shared_bytes)

    def start(packed: bytes) -> None:
        stream = driver.direct_stream(device)
        if stream is driver.NO_DIRECT_STREAM:
            driver.on_current_stream(device, partial(kernel, grid, block, packed, shared_bytes))
        else:
            kernel(grid, block, packed, shared_bytes, stream)

    return start

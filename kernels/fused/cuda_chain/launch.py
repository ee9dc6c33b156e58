"""A chain of two factors in one launch: lays out both weights, launches with PyCUDA."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from struct import Struct

import torch

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import driver
from kswatch.kernels.fused.cuda import launch as single
from kswatch.kernels.fused.cuda.arguments import ADDRESSES, pack_numbers
from kswatch.kernels.fused.cuda.gpu_properties import CLUSTER_ARCHITECTURE, GpuProperties
from kswatch.kernels.fused.cuda.raw_launch import KernelStart, RawLaunch, kernel_start
from kswatch.kernels.fused.cuda.weight_layout import WeightLayout, lay_out, lay_out_at_once
from kswatch.kernels.fused.cuda_chain import candidates, estimate
from kswatch.kernels.fused.cuda_chain.tile import ChainTile, Problems
from kswatch.kernels.implementation import STORAGE_DTYPES, Product, require_tensor

Weights = tuple[torch.Tensor, torch.Tensor]
"""Of the right-most factor and of the other one, each of shape (a, b, c, d)."""

LiveChain = Callable[[Weights, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""`product(weights, x, bias) -> y`, which lays out the weights at each call."""


def unsupported(problems: Problems, device: torch.device) -> str | None:
    """Why one launch cannot compute this chain on this GPU, as a sentence; None where it can."""
    if problems[0].precision not in SUITE_PRECISIONS:
        return f"one launch computes {', '.join(SUITE_PRECISIONS)}, not {problems[0].precision}"
    for problem in problems:
        if reason := single.unsupported(problem, device):
            return reason
    device = single.with_index(device)
    gpu = driver.gpu_properties(device)
    tile = candidates.choose(problems, gpu)
    if tile is None:
        return _no_room(problems, gpu)
    if tile.blocks(problems[0].batch) > single.MAX_BLOCKS:
        return "it needs more blocks than one launch can have; use a smaller batch"
    try:
        compiler.cubin(tile, gpu.architecture)
    except UnsupportedError as error:
        return str(error)
    return None


def _no_room(problems: Problems, gpu: GpuProperties) -> str:
    features = problems[0].pattern.rows
    reason = f"the intermediate of {features} features does not fit into a block's {gpu.shared_bytes} bytes"
    if gpu.architecture < CLUSTER_ARCHITECTURE:
        return f"{reason}, and clusters of blocks need sm_{CLUSTER_ARCHITECTURE}"
    return f"{reason}, nor what a block of a cluster reads of it"


def pays(problems: Problems, device: torch.device) -> bool:
    """Whether one launch can compute the chain, and is predicted to be clearly faster than two."""
    device = single.with_index(device)
    gpu = driver.gpu_properties(device)
    tile = candidates.choose(problems, gpu) if all(map(gpu.supports, problems)) else None
    if tile is None:
        return False
    first, second = (single.choose_tile(problem, device) for problem in problems)
    return estimate.pays(problems, tile, (first, second), gpu) and unsupported(problems, device) is None


def prepare(
    problems: Problems, weights: Weights, bias: torch.Tensor | None = None, tile: ChainTile | None = None
) -> Product:
    """A closure that only launches; it keeps its own copies of the weights and the bias.

    Args:
        problems: Of the right-most factor, then of the other.
        weights: Of both, on the GPU.
        bias: Of shape (features of Y,); added before rounding.
        tile: One of `candidates`, instead of the pair that would be chosen.

    Raises:
        UnsupportedError: `unsupported` returns a reason.
        UsageError: weights or bias have another shape, dtype or device.
    """
    device = weights[0].device
    if reason := unsupported(problems, device):
        raise UnsupportedError(f"{problems[0]} and {problems[1].pattern}: {reason}")
    dtype = STORAGE_DTYPES[problems[0].precision]
    for problem, weight in zip(problems, weights, strict=True):
        require_tensor("weights", weight, problem.pattern.as_tuple(), dtype, device)
    if bias is not None:
        require_tensor("bias", bias, (problems[1].pattern.rows,), dtype, device)
        bias = bias.detach().clone()
    detached = weights[0].detach(), weights[1].detach()
    raw_launch = make_raw_launch(problems, detached, bias, tile or _chosen(problems, device), lay_out)
    torch.cuda.current_stream(device).synchronize()  # launches may come on another stream
    return single.with_input_checks(raw_launch, problems, dtype, device)


def live_product(problems: Problems, device: torch.device) -> LiveChain:
    """A product that lays out its weights at each call; see `weight_layout.lay_out_at_once`.

    Raises:
        UnsupportedError: `unsupported` returns a reason.
    """
    if reason := unsupported(problems, device):
        raise UnsupportedError(f"{problems[0]} and {problems[1].pattern}: {reason}")
    tile, dtype = _chosen(problems, device), STORAGE_DTYPES[problems[0].precision]

    def product(weights: Weights, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        present = weights[0].detach(), weights[1].detach()
        bias = None if bias is None else bias.detach().to(dtype).contiguous()
        raw_launch = make_raw_launch(problems, present, bias, tile, lay_out_at_once)
        return single.with_input_checks(raw_launch, problems, dtype, present[0].device)(x)

    return product


def tile(problems: Problems, device: torch.device) -> str:
    """The chosen pair of tiles, readable."""
    return str(_chosen(problems, device))


def _chosen(problems: Problems, device: torch.device) -> ChainTile:
    found = candidates.choose(problems, driver.gpu_properties(single.with_index(device)))
    assert found is not None, "`unsupported` returns a reason where nothing fits"
    return found


# ---- the launch ------------------------------------------------------------------------------------------

NUMBERS_BYTES = 32
"""Of `arguments.pack_numbers`."""
_pack = Struct(2 * f"{ADDRESSES}{NUMBERS_BYTES}s" + "qq").pack
"""`ks::ChainArguments` of chain.cuh: those of both factors, the numbers of shares and of held groups."""


def make_raw_launch(
    problems: Problems, weights: Weights, bias: torch.Tensor | None, tile: ChainTile, layout: WeightLayout
) -> RawLaunch:
    """A launch for the addresses of X and Y, with accesses as wide as these allow."""
    laid_out = layout(weights[0], tile.first), layout(weights[1], tile.second)
    start_for = _starts(problems, tile, weights[0].device)
    numbers = pack_numbers(problems[0], tile.first), pack_numbers(problems[1], tile.second)
    addresses = laid_out[0].data_ptr(), laid_out[1].data_ptr(), 0 if bias is None else bias.data_ptr()
    widths = tile.first.vector_bytes, tile.second.vector_bytes
    sharing = tile.shares, tile.held_groups(problems[1].pattern)
    start = start_for(*widths)

    def launch(x: int, y: int) -> None:
        packed = _pack(
            *(x, addresses[0], 0, 0, numbers[0]), *(0, addresses[1], addresses[2], y, numbers[1]), *sharing
        )
        if x % widths[0] or y % widths[1]:
            return start_for(_aligned(x, widths[0]), _aligned(y, widths[1]))(packed)
        start(packed)

    launch.kept_alive = laid_out, bias  # type: ignore[attr-defined]
    return launch


def _aligned(address: int, width: int) -> int:
    """The widest access, up to `width`, that an address allows."""
    while address % width:
        width //= 2
    return width


def _starts(problems: Problems, tile: ChainTile, device: torch.device) -> Callable[[int, int], KernelStart]:
    """The kernels of the pair by the bytes per access to X and to Y."""

    @cache
    def start(x_width: int, y_width: int) -> KernelStart:
        first = replace(tile.first, vector_bytes=x_width)
        unit = replace(tile, first=first, second=replace(tile.second, vector_bytes=y_width))
        shape = unit.blocks(problems[0].batch), unit.threads, unit.launch_bytes(problems[1].pattern)
        return kernel_start(unit, device, driver.CHAIN, shape)

    return start

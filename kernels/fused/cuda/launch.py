"""The fused product on a GPU: chooses a tile, re-lays the weights, launches with PyCUDA.

PyCUDA checks no shape, dtype, device or address, so all of them are checked here before a launch.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache

import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import driver, trust_record
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.gpu_properties import MIN_ARCHITECTURE, MIN_ARCHITECTURES
from kswatch.kernels.fused.cuda.raw_launch import RawLaunch, make_raw_launch
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.weight_layout import WeightLayout, lay_out_at_once
from kswatch.kernels.implementation import (
    OUTPUT_DTYPES,
    STORAGE_DTYPES,
    WEIGHT_DTYPES,
    WIDE_RANGE,
    Empty,
    LiveProduct,
    Product,
    require_input,
    require_tensor,
)
from kswatch.kernels.problem import Problem

MAX_BLOCKS = 2**31 - 1
OTHER_PRECISIONS = {"tf32": "fp32", "fp8": "fp16"}
"""What to choose in place of a precision that a GPU does not have."""


def unsupported(problem: Problem, device: torch.device) -> str | None:
    """Why this problem cannot be computed on this GPU, as a sentence; None where it can."""
    if torch.version.hip or not torch.cuda.is_available():
        return (
            "torch sees no NVIDIA GPU; install a torch built for CUDA and the driver, or use the device cpu"
        )
    device = with_index(device)
    architecture = driver.gpu_properties(device).architecture
    if architecture < MIN_ARCHITECTURE:
        return f"the GPU is sm_{architecture}; the fused kernel needs sm_{MIN_ARCHITECTURE} or newer"
    least, instead = MIN_ARCHITECTURES.get(problem.precision, 0), OTHER_PRECISIONS.get(problem.precision)
    if architecture < least:
        return (
            f"the GPU is sm_{architecture}; {problem.precision} needs sm_{least} or newer, choose {instead}"
        )
    if choose_tile(problem, device).blocks(problem) > MAX_BLOCKS:
        return "it needs more blocks than one launch can have; use a smaller batch"
    try:
        driver.pycuda_driver()
        compiler.cubin(choose_tile(problem, device), architecture)
    except UnsupportedError as error:
        return str(error)
    return None


def prepare(
    problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None = None, tile: Tile | None = None
) -> Product:
    """A closure that only launches; it keeps its own copies of the weights and the bias.

    Args:
        problem: The product to compute.
        weights: Of shape (a, b, c, d).
        bias: Of shape (a·b·d,), one value for each feature of Y; added before rounding.
        tile: One of `candidates`, instead of the tile that would be chosen.

    Raises:
        UnsupportedError: `unsupported` returns a reason.
        UsageError: weights or bias have another shape, dtype or device.
    """
    if reason := unsupported(problem, weights.device):
        raise UnsupportedError(f"{problem}: {reason}")
    shape, precision = problem.pattern.as_tuple(), problem.precision
    require_tensor("weights", weights, shape, WEIGHT_DTYPES[precision], weights.device)
    if bias is not None:
        require_tensor("bias", bias, (problem.pattern.rows,), OUTPUT_DTYPES[precision], weights.device)
        bias = bias.detach().clone()
    return prepare_unchecked(problem, weights.detach(), bias, tile or choose_tile(problem, weights.device))


def live_product(problem: Problem, device: torch.device, transposed: bool) -> LiveProduct:
    """A product that lays out its weights at each call; see `weight_layout.lay_out_at_once`.

    Raises:
        UnsupportedError: `unsupported` returns a reason.
    """
    if reason := unsupported(problem, device):
        raise UnsupportedError(f"{problem}: {reason}")
    tile, x_dtype = choose_tile(problem, with_index(device)), STORAGE_DTYPES[problem.precision]

    def product(weights: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        weights = weights.detach().transpose(1, 2) if transposed else weights.detach()
        bias = None if bias is None else bias.detach().to(weights.dtype).contiguous()
        raw_launch = _launch_of(problem, weights, bias, tile, lay_out_at_once)
        return with_input_checks(raw_launch, (problem, problem), x_dtype, weights.device)(x)

    return product


def code_hash(problem: Problem, device: torch.device) -> str:
    """sha256 of the machine code that runs."""
    device = with_index(device)
    return compiler.cubin(choose_tile(problem, device), driver.gpu_properties(device).architecture).sha256


def tile(problem: Problem, device: torch.device) -> str:
    """The chosen tile, readable."""
    return str(choose_tile(problem, with_index(device)))


def choose_tile(problem: Problem, device: torch.device) -> Tile:
    """The architecture's tuned tile for exactly this problem, else the one with the smallest estimate."""
    architecture = driver.gpu_properties(device).architecture
    return _choose_tile(problem, device, tuned.tile_name(problem, f"sm_{architecture}"))


@lru_cache(maxsize=4096)
def _choose_tile(problem: Problem, device: torch.device, name: str | None) -> Tile:
    gpu = driver.gpu_properties(device)
    every = candidates(problem, device)
    tuned_tile = next((tile for tile in every if str(tile) == name), None)
    return tuned_tile or min(every, key=lambda tile: cycles(problem, tile, gpu))


def candidates(problem: Problem, device: torch.device) -> list[Tile]:
    """Every tile that may compute the problem there; tiles with wgmma only where they were checked."""
    gpu = driver.gpu_properties(device)
    return [
        *tiles.candidates(problem, gpu),
        *(
            tile
            for tile in tiles.hopper_tiles(problem, gpu)
            if not trust_record.untrusted_reason(device, tile)
        ),
    ]


def with_index(device: torch.device) -> torch.device:
    """The device with its index; plain `cuda` means torch's current device."""
    return device if device.index is not None else torch.device(device.type, torch.cuda.current_device())


def prepare_unchecked(
    problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None, tile: Tile
) -> Product:
    """The product computed by a given tile, for weights and a bias that were checked before."""
    product = _prepared(problem, weights, bias, tile, STORAGE_DTYPES[problem.precision])
    return with_either_input(problem, weights, bias, tile, product) if problem.precision == "fp8" else product


def _prepared(
    problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None, tile: Tile, x_dtype: torch.dtype
) -> Product:
    raw_launch = _launch_of(problem, weights, bias, tile, None)
    torch.cuda.current_stream(weights.device).synchronize()  # launches may come on another stream
    return with_input_checks(raw_launch, (problem, problem), x_dtype, weights.device)


def with_either_input(
    problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None, tile: Tile, product: Product
) -> Product:
    """The product in fp8, which takes X in e4m3 or e5m2; the latter is prepared when it first comes.

    wgmma is checked with e4m3 alone, so e5m2 is left to mma.sync.
    """
    weights = weights.clone()
    if tile.needs_trust:
        tile = tiles.choose(problem, driver.gpu_properties(weights.device))

    @cache
    def wide() -> Product:
        return _prepared(problem, weights, bias, replace(tile, wide_range=True), WIDE_RANGE)

    def either(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        return wide()(x, empty) if x.dtype is WIDE_RANGE else product(x, empty)

    return either


def _launch_of(
    problem: Problem,
    weights: torch.Tensor,
    bias: torch.Tensor | None,
    tile: Tile,
    layout: WeightLayout | None,
) -> RawLaunch:
    fallback = tile
    if tile.needs_trust:
        fallback = tiles.choose(problem, driver.gpu_properties(weights.device))
    return make_raw_launch(problem, weights, bias, tile, fallback, layout)


def with_input_checks(
    raw_launch: RawLaunch, problems: tuple[Problem, Problem], dtype: torch.dtype, device: torch.device
) -> Product:
    """The product that launches for inputs it was prepared for and refuses all others.

    `problems` are those that X and Y belong to: the same one, or the first and the last of a chain.
    """
    input_shape, output_shape = torch.Size(problems[0].input_shape), problems[1].output_shape
    index, stock_empty, is_grad_enabled = device.index, torch.empty, torch.is_grad_enabled
    current_device, empty_on_device = driver.current_device, driver.empty_on_device
    strides, y_dtype = (output_shape[1], 1), OUTPUT_DTYPES[problems[1].precision]

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        if (
            x.shape != input_shape
            or x.dtype is not dtype
            or x.device != device
            or not x.is_contiguous()
            or (x.requires_grad and is_grad_enabled())
        ):
            require_input(x, input_shape, dtype, device)
        if empty is stock_empty and current_device() == index:
            y = empty_on_device(output_shape, strides, y_dtype)
        else:
            y = empty(output_shape, dtype=y_dtype, device=device)
        raw_launch(x.data_ptr(), y.data_ptr())
        return y

    return product

"""The fused product on a GPU: chooses a tile, re-lays the weights, launches by PyCUDA.

PyCUDA checks no shape, dtype, device or address: all of that is done here, before a launch.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import driver
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.machine import MIN_ARCHITECTURE, TENSOR_CORE_ARCHITECTURE
from kswatch.kernels.fused.cuda.raw_launch import Start, starter
from kswatch.kernels.fused.cuda.tile import FAMILIES, Tile
from kswatch.kernels.fused.cuda_checks import trust
from kswatch.kernels.implementation import NO_GRADIENT, STORAGE_DTYPES, Empty, Product
from kswatch.kernels.problem import Problem

MAX_BLOCKS = 2**31 - 1


def unsupported(problem: Problem, device: torch.device) -> str | None:
    """Why this problem cannot be computed on this GPU, as a sentence; None where it can."""
    if torch.version.hip or not torch.cuda.is_available():
        return (
            "torch sees no NVIDIA GPU; install a torch built for CUDA and the driver, or use the device cpu"
        )
    device = indexed(device)
    architecture = driver.machine(device).architecture
    if architecture < MIN_ARCHITECTURE:
        return f"the GPU is sm_{architecture}; the fused kernel needs sm_{MIN_ARCHITECTURE} or newer"
    if problem.precision == "tf32" and architecture < TENSOR_CORE_ARCHITECTURE:
        return f"the GPU is sm_{architecture}; tf32 needs sm_{TENSOR_CORE_ARCHITECTURE} or newer, choose fp32"
    if chosen(problem, device).blocks(problem) > MAX_BLOCKS:
        return "it needs more blocks than one launch can have; use a smaller batch"
    try:
        driver.pycuda_driver()
        compiler.cubin(chosen(problem, device), architecture)
    except UnsupportedError as error:
        return str(error)
    return None


def prepare(
    problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None = None, tile: Tile | None = None
) -> Product:
    """A closure that only launches; it owns the re-laid weights and a bias, so that both may go.

    Args:
        problem: What is computed.
        weights: Of shape (a, b, c, d).
        bias: Of shape (a·b·d,), one for each feature of Y; added before the rounding.
        tile: One of `candidates`, in place of the one that is chosen.

    Raises:
        UnsupportedError: `unsupported` would have said so.
        UsageError: weights or bias of another shape, dtype or device.
    """
    if reason := unsupported(problem, weights.device):
        raise UnsupportedError(f"{problem}: {reason}")
    dtype = STORAGE_DTYPES[problem.precision]
    check("weights", weights, problem.pattern.as_tuple(), dtype, weights.device)
    if bias is not None:
        check("bias", bias, (problem.pattern.rows,), dtype, weights.device)
        bias = bias.detach().clone()
    return launcher(problem, weights.detach(), bias, tile or chosen(problem, weights.device))


def code_hash(problem: Problem, device: torch.device) -> str:
    """sha256 of the machine code that runs."""
    device = indexed(device)
    return compiler.cubin(chosen(problem, device), driver.machine(device).architecture).sha256


def tile(problem: Problem, device: torch.device) -> str:
    """The tile that the kernel chooses, readable."""
    return str(chosen(problem, indexed(device)))


def chosen(problem: Problem, device: torch.device) -> Tile:
    """The tile that the table of the architecture has for exactly this problem, else the best by estimate."""
    return _chosen(problem, device, tuned.tile_name(problem, f"sm_{driver.machine(device).architecture}"))


@lru_cache(maxsize=4096)
def _chosen(problem: Problem, device: torch.device, name: str | None) -> Tile:
    machine = driver.machine(device)
    every = candidates(problem, device)
    named = (tile for tile in every if str(tile) == name)
    return next(named, None) or min(every, key=lambda tile: cycles(problem, tile, machine))


def candidates(problem: Problem, device: torch.device) -> list[Tile]:
    """Every tile that may compute the problem there; wgmma's where it was seen to be right."""
    machine = driver.machine(device)
    wide = tiles.of_warpgroups(problem, machine)
    return [
        *tiles.candidates(problem, machine),
        *(tile for tile in wide if not trust.untrusted(device, tile)),
    ]


def available(problem: Problem, device: torch.device) -> dict[str, str | None]:
    """Every family of kernels: None where it may compute the problem there, else why not, as a sentence."""
    machine = driver.machine(indexed(device))
    reasons: dict[str, str | None] = {
        family: None if family in machine.families(problem) else machine.lacks(family, problem)
        for family in FAMILIES
    }
    if wide := tiles.by_warpgroups(problem, machine):
        reasons["warpgroups"] = trust.untrusted(indexed(device), wide)
    return reasons


def indexed(device: torch.device) -> torch.device:
    """The device with its number, which `cuda` alone leaves to torch's current device."""
    return device if device.index is not None else torch.device(device.type, torch.cuda.current_device())


def launcher(problem: Problem, weights: torch.Tensor, bias: torch.Tensor | None, tile: Tile) -> Product:
    """The product by a tile, of weights and a bias that are as they should be."""
    plain = tiles.choose(problem, driver.machine(weights.device)) if tile.family == "warpgroups" else tile
    start = starter(problem, weights, bias, tile, plain)
    torch.cuda.current_stream(weights.device).synchronize()  # launches may come on another stream
    return checked(start, problem, weights.dtype, weights.device)


def checked(start: Start, problem: Problem, dtype: torch.dtype, device: torch.device) -> Product:
    """The product that launches what it was made for and refuses all else."""
    input_shape, output_shape = torch.Size(problem.input_shape), problem.output_shape
    index, stock_empty, gradients_are_on = device.index, torch.empty, torch.is_grad_enabled
    current_device, empty_there, strides = driver.current_device, driver.empty_there, (output_shape[1], 1)

    def product(x: torch.Tensor, empty: Empty = torch.empty) -> torch.Tensor:
        if (
            x.shape != input_shape
            or x.dtype is not dtype
            or x.device != device
            or not x.is_contiguous()
            or (x.requires_grad and gradients_are_on())
        ):
            raise UsageError(refusal(x, input_shape, dtype, device))
        if empty is stock_empty and current_device() == index:
            y = empty_there(output_shape, strides, dtype)
        else:
            y = empty(output_shape, dtype=dtype, device=device)
        start(x.data_ptr(), y.data_ptr())
        return y

    return product


def refusal(x: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> str:
    """Why a product that was prepared for such inputs does not take this one."""
    check("x", x, shape, dtype, device)
    return (
        NO_GRADIENT
        if x.is_contiguous()
        else f"x of strides {x.stride()} is not contiguous; pass x.contiguous()"
    )


def check(
    name: str, tensor: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> None:
    """Refuse what the kernel would misread.

    Raises:
        UsageError: another shape, dtype or device.
    """
    if tensor.shape != shape:
        raise UsageError(f"{name} has shape {tuple(tensor.shape)}; this product takes {shape}")
    if tensor.dtype != dtype:
        raise UsageError(f"{name} is {tensor.dtype}; this product takes {dtype}")
    if tensor.device != device:
        raise UsageError(f"{name} is on {tensor.device}; this product was prepared on {device}")

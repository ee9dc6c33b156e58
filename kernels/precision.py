"""Sets torch's process-wide arithmetic switches for a precision, and restores them.

fp32 means TF32 off; fp16 and bf16 mean sums in fp32. torch keeps these as global state, so measuring or
checking a problem happens inside one `precision_scope` around all its products.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from kswatch.kernels.problem import Precision, Problem

REDUCTIONS = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
TF32_CAPABILITY = (8, 0)
FP8_CAPABILITY = (8, 9)


@contextmanager
def precision_scope(problem: Problem) -> Iterator[None]:
    """Set the arithmetic of the problem's precision for every product launched inside; not thread-safe.

    TF32 is on only for `tf32`. Sums in half precision (cuBLAS's reduced-precision reductions and
    fp16 accumulation) are off in all precisions. The previous settings are restored at the end.
    """
    older, before = _older_switch(), _switches()
    try:
        torch.set_float32_matmul_precision("high" if problem.precision == "tf32" else "highest")
        for owner, name, _ in before:
            if name != "fp32_precision":
                setattr(owner, name, False)
        yield
    finally:
        torch.set_float32_matmul_precision(older)
        for owner, name, value in before:
            setattr(owner, name, value)


def unsupported_precision(precision: Precision, device: torch.device) -> str | None:
    """Why no library computes in this precision on the device, as a sentence; None where one does."""
    if precision == "fp8":
        return _without_fp8(device)
    if precision != "tf32":
        return None
    if device.type != "cuda":
        return f"tf32 is arithmetic of NVIDIA's tensor cores; the {device.type} computes fp32 instead"
    if torch.version.hip or torch.cuda.get_device_capability(device) < TF32_CAPABILITY:
        return "tf32 needs an NVIDIA GPU of compute capability 8.0 (Ampere) or newer"
    return None


def _without_fp8(device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    if torch.version.hip or torch.cuda.get_device_capability(device) < FP8_CAPABILITY:
        return "fp8 needs an NVIDIA GPU of compute capability 8.9 (Ada) or newer"
    return None


def allows_tf32(device: torch.device) -> bool:
    """Whether torch's settings allow TF32 for fp32 matrix products on the device."""
    if not _has_tf32(device):
        return False
    # Reading the older switch raises once the newer one has been used (torch 2.9).
    if _newer_switch is not None:  # `cuda.matmul.fp32_precision`, without its slower look-up
        return _newer_switch("cuda", "matmul") == "tf32"
    return torch.backends.cuda.matmul.allow_tf32


_newer_switch = getattr(torch._C, "_get_fp32_precision_getter", None)


@cache
def _has_tf32(device: torch.device) -> bool:
    """Cached: it is needed for every product, and each query of the capability would go to the driver."""
    return unsupported_precision("tf32", device) is None


def _older_switch() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # torch refuses to read it once it disagrees with the newer ones
        return "highest"


def _switches() -> list[tuple[Any, str, object]]:
    """(owner, name, value) of all other switches that this torch has."""
    matmul = torch.backends.cuda.matmul
    found: list[tuple[Any, str, object]] = []
    for name in REDUCTIONS:
        value, split_k = getattr(matmul, name), getattr(matmul, f"{name}_split_k", None)
        found.append((matmul, name, value if split_k is None else (value, split_k)))
    if hasattr(matmul, "allow_fp16_accumulation"):  # since torch 2.7
        found.append((matmul, "allow_fp16_accumulation", matmul.allow_fp16_accumulation))
    for backend in (torch.backends.cuda, torch.backends.mkldnn):
        owner: Any = getattr(backend, "matmul", None)
        if hasattr(owner, "fp32_precision"):  # since torch 2.9, with the meaning of the older switch
            found.append((owner, "fp32_precision", owner.fp32_precision))
    return found

"""Sets torch's process-wide arithmetic switches for a precision, and restores them.

fp32 means TF32 off; fp16 and bf16 mean sums in fp32. torch keeps these as global state, so measuring or
checking a problem happens inside one `precision_scope` around all its products.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from kswatch.kernels.problem import Precision, Problem

REDUCTIONS = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction")
TF32_CAPABILITY = (8, 0)


@contextmanager
def precision_scope(problem: Problem) -> Iterator[None]:
    """Set the arithmetic of the problem's precision for every product launched inside; not thread-safe.

    TF32 is on only for `tf32`. Sums in half precision (cuBLAS's reduced-precision reductions and
    fp16 accumulation) are off in all precisions. The previous settings are restored at the end.
    """
    matmul = torch.backends.cuda.matmul
    float32 = _float32_settings()
    reductions = {name: _reduction(name) for name in REDUCTIONS}
    accumulation = getattr(matmul, "allow_fp16_accumulation", None)  # since torch 2.7
    try:
        torch.set_float32_matmul_precision("high" if problem.precision == "tf32" else "highest")
        for name in REDUCTIONS:
            setattr(matmul, name, False)
        if accumulation is not None:
            matmul.allow_fp16_accumulation = False
        yield
    finally:
        _restore_float32(*float32)
        for name, value in reductions.items():
            setattr(matmul, name, value)
        if accumulation is not None:
            matmul.allow_fp16_accumulation = accumulation


def unsupported_precision(precision: Precision, device: torch.device) -> str | None:
    """Why no library computes in this precision on the device, as a sentence; None where one does."""
    if precision != "tf32":
        return None
    if device.type != "cuda":
        return f"tf32 is arithmetic of NVIDIA's tensor cores; the {device.type} computes fp32 instead"
    if torch.version.hip or torch.cuda.get_device_capability(device) < TF32_CAPABILITY:
        return "tf32 needs an NVIDIA GPU of compute capability 8.0 (Ampere) or newer"
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


def _reduction(name: str) -> bool | tuple[bool, bool]:
    matmul = torch.backends.cuda.matmul
    split_k = getattr(matmul, f"{name}_split_k", None)  # a second half of the switch in newer torch
    allowed = getattr(matmul, name)
    return allowed if split_k is None else (allowed, split_k)


def _float32_settings() -> tuple[str, dict[str, str]]:
    """The older switch, and the newer ones per backend (torch 2.9) with the same meaning."""
    newer = {
        name: backend.matmul.fp32_precision
        for name, backend in (("cuda", torch.backends.cuda), ("mkldnn", torch.backends.mkldnn))
        if hasattr(getattr(backend, "matmul", None), "fp32_precision")
    }
    try:
        return torch.get_float32_matmul_precision(), newer
    except RuntimeError:  # torch refuses to read the older switch once the two disagree
        return "highest", newer


def _restore_float32(older: str, newer: dict[str, str]) -> None:
    torch.set_float32_matmul_precision(older)
    for name, value in newer.items():
        getattr(torch.backends, name).matmul.fp32_precision = value

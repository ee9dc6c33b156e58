"""A weight that was frozen in fp8: quantised once, multiplied by inputs that are quantised at each call."""

from __future__ import annotations

import torch
from torch.compiler import is_compiling

from kswatch.errors import UsageError
from kswatch.kernels.implementation import STORAGE_DTYPES, WEIGHT_DTYPES, WIDE_RANGE
from kswatch.kernels.layer.prepared_products import LaidOutWeight
from kswatch.kernels.layer.torch_operator import is_observed, is_plain, is_transformed
from kswatch.kernels.problem import Layout
from kswatch.kernels.reference import ScalePer, largest_finite, round_to_fp8, scales_of, to_fp8

INPUT_DTYPES = (STORAGE_DTYPES["fp8"], WIDE_RANGE)
"""Inputs of these types are multiplied as they are: e5m2 is chosen by passing it."""
ROUNDED_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Inputs of these types are quantised."""


class ScaledWeight:
    """The quantised values of a weight of shape (a, b, c, d), and its products by `fused`."""

    def __init__(self, weight: torch.Tensor, scale_per: ScalePer) -> None:
        self.scale_per = scale_per
        values = round_to_fp8(weight.detach(), scale_per).to(WEIGHT_DTYPES["fp8"])
        self._products = LaidOutWeight(values.contiguous())

    def multiply(
        self, weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor, layout: Layout
    ) -> torch.Tensor:
        """The product with x of shape (batch, acd) or (acd, batch), plus the bias.

        x gets one scale, a power of two, by which Y is multiplied; Y has the dtype of x, or that of autocast,
        or bf16 if x is fp8.

        Raises:
            UsageError: x is no real floating-point tensor on the weight's device; or a gradient, a trace or a
                transform is wanted.
            UnsupportedError: fp8 cannot be computed here.
        """
        _refuse_unless_known(x, weight.device)
        x = x.resolve_neg()
        _refuse_unless_plain(x, weight, bias)
        is_scaled, dtype = x.dtype not in INPUT_DTYPES, _output_dtype(x)
        batch = x.shape[0 if layout == "batch_first" else 1]
        if batch == 0:
            rows = weight.shape[0] * weight.shape[1] * weight.shape[3]
            shape = (0, rows) if layout == "batch_first" else (rows, 0)
            return x.new_empty(shape, dtype=dtype if is_scaled else WEIGHT_DTYPES["fp8"])
        scale = None
        if is_scaled:
            x = x.float()
            scale = scales_of(largest_finite(x))
            x = to_fp8(x / scale)
        y = self._products.multiply(x.contiguous(), None, ("fused", batch, "fp8", layout, False))
        if scale is not None:
            y = y.mul_(scale).to(dtype)  # exact in bf16, whose range fp16 does not have
        return y if bias is None else y.add_((bias if layout == "batch_first" else bias[:, None]).to(y.dtype))


def _output_dtype(x: torch.Tensor) -> torch.dtype:
    device = x.device.type
    if torch.is_autocast_enabled(device) and x.dtype != torch.float64:
        return torch.get_autocast_dtype(device)
    return x.dtype


def _refuse_unless_known(x: torch.Tensor, device: torch.device) -> None:
    known = (*ROUNDED_DTYPES, *INPUT_DTYPES)
    if x.dtype not in known or x.device != device:
        names = ", ".join(map(str, known))
        raise UsageError(
            f"the input is {x.dtype} on {x.device}; a layer that is frozen in fp8 on {device} takes {names} "
            "there; convert it with .to()"
        )


def _refuse_unless_plain(x: torch.Tensor, *parameters: torch.Tensor | None) -> None:
    if is_compiling() or is_observed() or is_transformed() or not is_plain(x):
        raise UsageError(
            "a layer that is frozen in fp8 cannot be compiled, traced or transformed; "
            "call layer.unfreeze() first"
        )
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in (x, *parameters)):
        raise UsageError(
            "products in fp8 have no gradients; call the layer under torch.no_grad(), or "
            "layer.requires_grad_(False) for inputs without gradients"
        )

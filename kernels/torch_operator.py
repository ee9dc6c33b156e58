"""`torch.ops.kswatch.product`: the product as one operator that torch's compiler, export and autograd know.

Y = K X (or Kᵀ X) + bias for a weight of shape (a, b, c, d), computed in x's dtype, whatever the
weight's; with a fake kernel, gradients of every order, and autocast as `torch.nn.functional.linear` has it.
"""

from __future__ import annotations

from typing import Any

import torch

from kernels.definition import formula, weights_gradient
from kernels.pattern import Pattern
from kernels.prepared import precision_of, prepared_for
from kernels.problem import Layout

_library = torch.library.Library("kswatch", "DEF")
_library.define(
    "product(Tensor x, Tensor weight, Tensor? bias, bool transposed, str algorithm, str layout) -> Tensor"
)
product = torch.ops.kswatch.product.default
"""product(x, weight, bias, transposed, algorithm, layout); x of shape (batch, acd) or (acd, batch)."""


def compute(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    transposed: bool,
    algorithm: str,
    layout: Layout,
) -> torch.Tensor:
    """The operator without torch's dispatcher: no gradient, no tracing.

    Raises:
        UnsupportedError: the algorithm cannot compute this product here.
    """
    batch = x.shape[0 if layout == "batch_first" else 1]
    if batch == 0 or x.dtype == torch.float64:
        y = formula(layout, _turned(weight, transposed).to(x.dtype), x)
    else:
        question = (algorithm, batch, precision_of(x.dtype, x.device), layout, transposed)
        y = prepared_for(weight).product(weight, question)(x.detach().contiguous())
    return y if bias is None else add_bias(y, bias, layout)


def add_bias(y: torch.Tensor, bias: torch.Tensor, layout: Layout) -> torch.Tensor:
    """A product's fresh output with the bias added in place."""
    return y.add_((bias if layout == "batch_first" else bias[:, None]).to(y.dtype))


def _turned(weight: torch.Tensor, transposed: bool) -> torch.Tensor:
    """The weights of Kᵀ, whose pattern is (a, c, b, d)."""
    return weight.transpose(1, 2) if transposed else weight


for _device in ("CPU", "CUDA"):
    _library.impl("product", compute, _device)


@torch.library.register_fake("kswatch::product", lib=_library)
def _fake(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    transposed: bool,
    algorithm: str,
    layout: Layout,
) -> torch.Tensor:
    a, b, c, d = weight.shape
    features = a * (c if transposed else b) * d
    return x.new_empty((x.shape[0], features) if layout == "batch_first" else (features, x.shape[1]))


# ---- gradients ------------------------------------------------------------------------------------


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:  # noqa: ANN401  (torch's context)
    x, weight, bias, ctx.transposed, ctx.algorithm, ctx.layout = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, y_gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
    """Kᵀ applied to the gradient of Y; its outer product with X, per block; its sum over the batch."""
    x, weight = ctx.saved_tensors
    transposed, layout = ctx.transposed, ctx.layout
    of_x = of_weight = of_bias = None
    if ctx.needs_input_grad[0]:
        of_x = product(y_gradient, weight, None, not transposed, ctx.algorithm, layout)
    if ctx.needs_input_grad[1]:
        rows, columns = (x, y_gradient) if transposed else (y_gradient, x)
        pattern = Pattern(*weight.shape)
        of_weight = weights_gradient(pattern, layout, rows, columns).to(weight.dtype)
    if ctx.needs_input_grad[2]:
        of_bias = y_gradient.sum(0 if layout == "batch_first" else 1).to(ctx.bias_dtype)
    return of_x, of_weight, of_bias, None, None, None


torch.library.register_autograd("kswatch::product", _backward, setup_context=_save, lib=_library)


# ---- autocast -------------------------------------------------------------------------------------


def _register_autocast(device: str) -> None:
    """Round X to autocast's dtype; the prepared weights follow it, rounded once, not at every call."""
    key = getattr(torch._C.DispatchKey, f"Autocast{device}")
    keys = torch._C.DispatchKeySet(key)

    def rounded(x: torch.Tensor, weight: torch.Tensor, *rest: object) -> torch.Tensor:
        if x.dtype != torch.float64:
            x = x.to(torch.get_autocast_dtype(x.device.type))
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return product(x, weight, *rest)

    _library.impl("product", rounded, f"Autocast{device}")


_register_autocast("CPU")
_register_autocast("CUDA")

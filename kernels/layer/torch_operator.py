"""`torch.ops.kswatch.product`: the product as one operator for torch's compiler, export and autograd.

Y = K X (or Kᵀ X) + bias for a weight of shape (a, b, c, d), computed in the dtype of x, whatever the dtype
of the weight; with a fake kernel, gradients of every order, and autocast like `torch.nn.functional.linear`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from kswatch.kernels.implementation import Product
from kswatch.kernels.layer.prepared_products import PRECISION_OF, precision_of, prepared_for
from kswatch.kernels.problem import Layout

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, bool, str, Layout]
"""The operator's arguments: x, weight, bias, transposed, algorithm, layout."""


def multiply(*inputs: *Inputs) -> torch.Tensor:
    """The operator, without torch's dispatcher where possible.

    For a Python operator the dispatcher takes longer than a launch, and torch's registered gradients cost
    twice as much as `_Eager`, so both are used only where the operator must be visible.
    """
    x, weight, bias, *_ = inputs
    if needs_dispatcher(x):
        return product(*inputs)
    if torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _Eager.apply(*inputs)
    return _compute(*inputs)


def needs_dispatcher(x: torch.Tensor) -> bool:
    """Whether the operator must be visible: to autocast, a tracer, a mode or a tensor subclass."""
    return (
        _is_any_autocast_enabled()
        or type(x) is not torch.Tensor
        or _len_torch_dispatch_stack() > 0
        or _peek_interpreter_stack() is not None
        or _get_tracing_state() is not None
        or x.is_meta
    )


_is_any_autocast_enabled = torch._C._is_any_autocast_enabled
_len_torch_dispatch_stack = torch._C._len_torch_dispatch_stack
_peek_interpreter_stack = torch._C._functorch.peek_interpreter_stack
_get_tracing_state = torch._C._get_tracing_state


def _compute(*inputs: *Inputs) -> torch.Tensor:
    """The values only, without gradients or tracing."""
    x = inputs[0]
    return product_for(*inputs)(x if x.is_contiguous() else x.contiguous())


def product_for(*inputs: *Inputs) -> Product:
    """The product for these and all similar inputs, valid until weight or bias change.

    Raises:
        UnsupportedError: the algorithm cannot compute this product here.
    """
    x, weight, bias, transposed, algorithm, layout = inputs
    batch = x.shape[0 if layout == "batch_first" else 1]
    if batch == 0 or x.dtype is torch.float64:
        return partial(_definition_product, weight.transpose(1, 2) if transposed else weight, bias, layout)
    precision = precision_of(x.dtype, x.device) if x.is_cuda else PRECISION_OF[x.dtype]
    return prepared_for(weight).product(weight, bias, (algorithm, batch, precision, layout, transposed))


# ---- by the definition ----------------------------------------------------------------------------

X_INDICES = {"batch_first": "nilj", "batch_last": "iljn"}
Y_INDICES = {"batch_first": "nikj", "batch_last": "ikjn"}


def _definition_product(
    weight: torch.Tensor, bias: torch.Tensor | None, layout: Layout, x: torch.Tensor
) -> torch.Tensor:
    """Y[(i, k, j)] = Σ_l W[i, k, l, j] X[(i, l, j)], for any batch, 0 included, and any dtype."""
    equation = f"iklj,{X_INDICES[layout]}->{Y_INDICES[layout]}"
    y = torch.einsum(equation, weight.to(x.dtype), _indexed(x, weight, layout))
    axis = 1 if layout == "batch_first" else 0
    y = y.flatten(axis, axis + 2)
    return y if bias is None else y + (bias if layout == "batch_first" else bias[:, None]).to(y.dtype)


def _indexed(activations: torch.Tensor, weight: torch.Tensor, layout: Layout) -> torch.Tensor:
    """X or Y as a 4-D view with the indices of the equations."""
    a, _, _, d = weight.shape
    return activations.unflatten(1 if layout == "batch_first" else 0, (a, -1, d))


# ---- the operator ---------------------------------------------------------------------------------

_library = torch.library.Library("kswatch", "DEF")
_library.define(
    "product(Tensor x, Tensor weight, Tensor? bias, bool transposed, str algorithm, str layout) -> Tensor"
)
product = torch.ops.kswatch.product.default
"""product(x, weight, bias, transposed, algorithm, layout); x of shape (batch, acd) or (acd, batch)."""


for _device in ("CPU", "CUDA"):
    _library.impl("product", _compute, _device)


@torch.library.register_fake("kswatch::product", lib=_library)
def _fake(*inputs: *Inputs) -> torch.Tensor:
    x, weight, _, transposed, _, layout = inputs
    a, b, c, d = weight.shape
    features = a * (c if transposed else b) * d
    return x.new_empty((x.shape[0], features) if layout == "batch_first" else (features, x.shape[1]))


# ---- gradients ------------------------------------------------------------------------------------


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:  # noqa: ANN401  (torch's context)
    x, weight, bias, ctx.transposed, ctx.algorithm, ctx.layout = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, y_gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
    """Kᵀ times the gradient of Y; its outer product with X, per block; its sum over the batch."""
    x, weight = ctx.saved_tensors
    transposed, layout, needed = ctx.transposed, ctx.layout, ctx.needs_input_grad
    x_gradient = weight_gradient = bias_gradient = None
    if needed[0]:
        x_gradient = multiply(y_gradient, weight, None, not transposed, ctx.algorithm, layout)
    if needed[1]:
        # G[i, k, l, j] = Σ_n Y[n, (i, k, j)] X[n, (i, l, j)]: the outer product of each block
        pair = (x, y_gradient) if transposed else (y_gradient, x)
        equation = f"{Y_INDICES[layout]},{X_INDICES[layout]}->iklj"
        indexed = (_indexed(activations, weight, layout) for activations in pair)
        weight_gradient = torch.einsum(equation, *indexed).to(weight.dtype)
    if needed[2]:
        bias_gradient = y_gradient.sum(0 if layout == "batch_first" else 1).to(ctx.bias_dtype)
    return x_gradient, weight_gradient, bias_gradient, None, None, None


torch.library.register_autograd("kswatch::product", _backward, setup_context=_save, lib=_library)


class _Eager(torch.autograd.Function):
    """The same gradients without the dispatcher; torch's registered ones bind a signature at every call."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:  # noqa: ANN401
        """The values."""
        y = _compute(*inputs)
        _save(ctx, inputs, y)
        return y

    @staticmethod
    def backward(ctx: Any, y_gradient: torch.Tensor) -> Any:  # noqa: ANN401
        """See `_backward`."""
        return _backward(ctx, y_gradient)


# ---- autocast -------------------------------------------------------------------------------------


def _autocast(x: torch.Tensor, *rest: object) -> torch.Tensor:
    """Round X to autocast's dtype; the prepared weights are rounded accordingly, once, not at every call."""
    if x.dtype != torch.float64:
        x = x.to(torch.get_autocast_dtype(x.device.type))
    with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST_KEYS[x.device.type]):
        return product(x, *rest)


_AUTOCAST_KEYS = {
    device.lower(): torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, f"Autocast{device}"))
    for device in ("CPU", "CUDA")
}
for _device in ("CPU", "CUDA"):
    _library.impl("product", _autocast, f"Autocast{_device}")

"""`torch.ops.kswatch.product`: the product as one operator for torch's compiler, export and autograd.

Y = K X (or Kᵀ X) + bias for a weight of shape (a, b, c, d), computed in the dtype of x, whatever the dtype
of the weight; with a fake kernel, gradients of every order, and autocast like `torch.nn.functional.linear`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from kswatch.kernels.implementation import Product
from kswatch.kernels.layer.definition import product_by_definition, weights_gradient
from kswatch.kernels.layer.prepared_products import PRECISION_OF, PreparedProducts, precision_of, prepared_for
from kswatch.kernels.problem import Layout

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, bool, str, Layout]
"""The operator's arguments: x, weight, bias, transposed, algorithm, layout."""


def multiply(prepared: PreparedProducts, *inputs: *Inputs) -> torch.Tensor:
    """The operator, without torch's dispatcher where possible; `prepared` are the products of this weight.

    For a Python operator the dispatcher takes longer than a launch, and torch's registered gradients cost
    twice as much as `_Eager`, so both are used only where the operator must be visible.
    """
    x, weight, bias, *_ = inputs
    if needs_dispatcher(x):
        return product(*inputs)
    if torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _Eager.apply(prepared, *inputs)
    return compute(prepared, *inputs)


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


def compute(prepared: PreparedProducts, *inputs: *Inputs) -> torch.Tensor:
    """The values only, without gradients or tracing.

    Raises:
        UnsupportedError: the algorithm cannot compute this product here.
    """
    x = inputs[0]
    return product_for(prepared, *inputs)(x if x.is_contiguous() else x.contiguous())


def product_for(prepared: PreparedProducts, *inputs: *Inputs) -> Product:
    """The product for these and all similar inputs, valid until weight or bias change.

    Raises:
        UnsupportedError: the algorithm cannot compute this product here.
    """
    x, weight, bias, transposed, algorithm, layout = inputs
    batch = x.shape[0 if layout == "batch_first" else 1]
    if batch == 0 or x.dtype is torch.float64:
        return partial(_definition_product, weight.transpose(1, 2) if transposed else weight, bias, layout)
    precision = precision_of(x.dtype, x.device) if x.is_cuda else PRECISION_OF[x.dtype]
    return prepared.product(weight, bias, (algorithm, batch, precision, layout, transposed))


def _definition_product(
    weight: torch.Tensor, bias: torch.Tensor | None, layout: Layout, x: torch.Tensor
) -> torch.Tensor:
    y = product_by_definition(layout, weight.to(x.dtype), x)
    return y if bias is None else y + (bias if layout == "batch_first" else bias[:, None]).to(y.dtype)


# ---- the operator ---------------------------------------------------------------------------------

_library = torch.library.Library("kswatch", "DEF")
_library.define(
    "product(Tensor x, Tensor weight, Tensor? bias, bool transposed, str algorithm, str layout) -> Tensor"
)
product = torch.ops.kswatch.product.default
"""product(x, weight, bias, transposed, algorithm, layout); x of shape (batch, acd) or (acd, batch)."""


def _dispatched(x: torch.Tensor, weight: torch.Tensor, *rest: Any) -> torch.Tensor:  # noqa: ANN401
    return compute(prepared_for(weight), x, weight, *rest)


for _device in ("CPU", "CUDA"):
    _library.impl("product", _dispatched, _device)


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
    return _gradients(ctx, y_gradient, ctx.needs_input_grad)


def _gradients(
    ctx: Any,  # noqa: ANN401
    y_gradient: torch.Tensor,
    needed: Sequence[bool],
) -> tuple[torch.Tensor | None, ...]:
    """Kᵀ times the gradient of Y; its outer product with X, per block; its sum over the batch."""
    x, weight = ctx.saved_tensors
    transposed, layout = ctx.transposed, ctx.layout
    x_gradient = weight_gradient = bias_gradient = None
    if needed[0]:
        prepared = prepared_for(weight)
        x_gradient = multiply(prepared, y_gradient, weight, None, not transposed, ctx.algorithm, layout)
    if needed[1]:
        rows, columns = (x, y_gradient) if transposed else (y_gradient, x)
        a, _, _, d = weight.shape
        weight_gradient = weights_gradient(a, d, layout, rows, columns).to(weight.dtype)
    if needed[2]:
        bias_gradient = y_gradient.sum(0 if layout == "batch_first" else 1).to(ctx.bias_dtype)
    return x_gradient, weight_gradient, bias_gradient, None, None, None


torch.library.register_autograd("kswatch::product", _backward, setup_context=_save, lib=_library)


class _Eager(torch.autograd.Function):
    """The same gradients without the dispatcher; torch's registered ones bind a signature at every call."""

    @staticmethod
    def forward(ctx: Any, prepared: PreparedProducts, *inputs: Any) -> torch.Tensor:  # noqa: ANN401
        """See `compute`."""
        y = compute(prepared, *inputs)
        _save(ctx, inputs, y)
        return y

    @staticmethod
    def backward(ctx: Any, y_gradient: torch.Tensor) -> Any:  # noqa: ANN401
        """See `_gradients`."""
        return (None, *_gradients(ctx, y_gradient, ctx.needs_input_grad[1:]))


# ---- autocast -------------------------------------------------------------------------------------


def _register_autocast(device: str) -> None:
    """Round X to autocast's dtype; the prepared weights are rounded accordingly, once, not at every call."""
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

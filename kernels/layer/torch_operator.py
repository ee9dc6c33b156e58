"""`torch.ops.kswatch.product`: the product as one operator for torch's compiler, export and autograd.

Y = K X (or Kᵀ X) + bias for a weight of shape (a, b, c, d), computed in the dtype of x, whatever the dtype
of the weight; with a fake kernel, gradients of every order, and autocast like `torch.nn.functional.linear`.
Under the transforms of `torch.func` and forward-mode AD the product is computed by differentiable operators
of torch, so they compose as they do for `nn.Linear`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from kswatch.kernels.layer import native
from kswatch.kernels.layer.prepared_products import (
    PRECISION_OF,
    Kept,
    multiply_present,
    precision_of,
)
from kswatch.kernels.problem import Layout

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, bool, str, Layout]
"""The operator's arguments: x, weight, bias, transposed, algorithm, layout."""


def multiply(*inputs: *Inputs, kept: Kept | None = None) -> torch.Tensor:
    """The operator, without torch's dispatcher where possible.

    For a Python operator the dispatcher takes longer than a launch, and torch's registered gradients cost
    twice as much as `_Eager`, so both are used only where the operator must be visible.

    Args:
        *inputs: The operator's arguments.
        kept: What is kept of the weight, and where to keep more.
    """
    x, weight, bias, transposed, algorithm, layout = inputs
    if kept is None or kept.source is None:
        y = NATIVE.product(x, weight, bias, transposed, algorithm, layout)
        if y is not None:
            return y
    observed = is_observed() or not (is_plain(x) and is_plain(weight) and (bias is None or is_plain(bias)))
    if observed or is_transformed():
        if kept is not None:
            weight, bias = kept.present_weight(weight), kept.present_bias(bias)
        if is_transformed():
            return _definition_product(weight.transpose(1, 2) if transposed else weight, bias, layout, x)
        return product(x, weight, bias, transposed, algorithm, layout)
    if _is_any_autocast_enabled() and torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _Eager.apply(kept, x, weight, bias, transposed, algorithm, layout)
    return _compute(x, weight, bias, transposed, algorithm, layout, kept=kept)


def is_transformed() -> bool:
    """Whether a transform of `torch.func` or forward-mode AD is active."""
    return _peek_interpreter_stack() is not None or forward_ad._current_level >= 0


# As torch.compiler.assume_constant_result marks it, which would load the compiler (seconds of CPU time):
# graphs are guarded by the active transforms.
is_transformed._dynamo_marked_constant = True  # type: ignore[attr-defined]


def is_observed() -> bool:
    """Whether the operator must be visible to a tracer or a mode."""
    return (
        _len_torch_dispatch_stack() > 0 or _len_torch_function_stack() > 0 or _get_tracing_state() is not None
    )


def is_plain(operand: torch.Tensor) -> bool:
    """Whether a tensor is nothing but its memory: no subclass, not lazily negated or zero, not on meta."""
    return (
        type(operand) in _PLAIN_TYPES
        and not operand.is_neg()
        and not operand._is_zerotensor()
        and not operand.is_meta
    )


_PLAIN_TYPES = frozenset({torch.Tensor, torch.nn.Parameter})
_is_batched = torch._C._functorch.is_legacy_batchedtensor
_is_any_autocast_enabled = torch._C._is_any_autocast_enabled
_len_torch_dispatch_stack = torch._C._len_torch_dispatch_stack
_len_torch_function_stack = torch._C._len_torch_function_stack
_peek_interpreter_stack = torch._C._functorch.peek_interpreter_stack
_get_tracing_state = torch._C._get_tracing_state


def _compute(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    transposed: bool,
    algorithm: str,
    layout: Layout,
    kept: Kept | None = None,
) -> torch.Tensor:
    """The values only, without gradients or tracing, of the present weight and bias.

    Raises:
        UnsupportedError: the algorithm cannot compute this product here.
    """
    batch = x.shape[0 if layout == "batch_first" else 1]
    if kept is not None and kept.source is not None:
        if batch == 0 or x.dtype is torch.float64:
            weight = kept.present_weight(weight)
        bias = kept.present_bias(bias)
    if batch == 0 or x.dtype is torch.float64:
        return _definition_product(weight.transpose(1, 2) if transposed else weight, bias, layout, x)
    precision = precision_of(x.dtype, x.device) if x.is_cuda else PRECISION_OF[x.dtype]
    key = algorithm, batch, precision, layout, transposed
    return multiply_present(weight, bias, x.contiguous(), key, kept)


# ---- by the definition ----------------------------------------------------------------------------

X_INDICES = {"batch_first": "nilj", "batch_last": "iljn"}
Y_INDICES = {"batch_first": "nikj", "batch_last": "ikjn"}


def _definition_product(
    weight: torch.Tensor, bias: torch.Tensor | None, layout: Layout, x: torch.Tensor
) -> torch.Tensor:
    """Y[(i, k, j)] = Σ_l W[i, k, l, j] X[(i, l, j)], for any batch, 0 included, and any dtype."""
    equation = f"iklj,{X_INDICES[layout]}->{Y_INDICES[layout]}"
    y = torch.einsum(equation, weight.to(x.dtype), _indexed(x, weight.shape, layout))
    rows = weight.shape[0] * weight.shape[1] * weight.shape[3]
    y = y.reshape((x.shape[0], rows) if layout == "batch_first" else (rows, x.shape[1]))
    return y if bias is None else y + (bias if layout == "batch_first" else bias[:, None]).to(y.dtype)


def _indexed(activations: torch.Tensor, weight_shape: Sequence[int], layout: Layout) -> torch.Tensor:
    """X or Y as a 4-D view with the indices of the equations."""
    a, _, _, d = weight_shape
    if layout == "batch_first":
        batch, features = activations.shape
        return activations.reshape(batch, a, features // (a * d), d)
    features, batch = activations.shape
    return activations.reshape(a, features // (a * d), d, batch)


# ---- the operator ---------------------------------------------------------------------------------

_library = torch.library.Library("kswatch", "DEF")
_library.define(
    "product(Tensor x, Tensor weight, Tensor? bias, bool transposed, str algorithm, str layout) -> Tensor"
)
product = torch.ops.kswatch.product.default
"""product(x, weight, bias, transposed, algorithm, layout); x of shape (batch, acd) or (acd, batch)."""


_library.impl("product", _compute, "CUDA")
_cpu_library = torch.library.Library("kswatch", "IMPL")
_cpu_library.impl("product", _compute, "CPU")


@torch.library.register_fake("kswatch::product", lib=_library)
def _fake(*inputs: *Inputs) -> torch.Tensor:
    x, weight, _, transposed, _, layout = inputs
    a, b, c, d = weight.shape
    features = a * (c if transposed else b) * d
    return x.new_empty((x.shape[0], features) if layout == "batch_first" else (features, x.shape[1]))


# ---- gradients ------------------------------------------------------------------------------------


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:  # noqa: ANN401  (torch's context)
    del output
    _save_needed(ctx, inputs, ctx.needs_input_grad[:2])


def _save_needed(ctx: Any, inputs: tuple[Any, ...], needed: Sequence[bool]) -> None:  # noqa: ANN401
    """What the needed gradients are made of, as for `nn.Linear`: other operands may be freed or changed."""
    x, weight, bias, ctx.transposed, ctx.algorithm, ctx.layout = inputs
    ctx.bias_dtype = None if bias is None else bias.dtype
    ctx.weight_form = weight.shape, weight.dtype
    x_needed, weight_needed = needed
    ctx.save_for_backward(x if weight_needed else None, weight if x_needed else None)


def _backward(ctx: Any, y_gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
    """Kᵀ times the gradient of Y; its outer product with X, per block; its sum over the batch."""
    x, weight = ctx.saved_tensors
    needed, kept = ctx.needs_input_grad[-6:][:3], getattr(ctx, "kept", None)
    settings = ctx.transposed, ctx.algorithm, ctx.layout, needed, kept
    gradients = differentiate(x, weight, y_gradient, ctx.weight_form, ctx.bias_dtype, *settings)
    return *gradients, None, None, None


Gradients = tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]
"""Of X, the weight and the bias."""

WeightForm = tuple[Sequence[int], torch.dtype]
"""(a, b, c, d) and the dtype of a weight."""


def differentiate(
    x: torch.Tensor | None,
    weight: torch.Tensor | None,
    y_gradient: torch.Tensor,
    weight_form: WeightForm,
    bias_dtype: torch.dtype | None,
    transposed: bool,
    algorithm: str,
    layout: Layout,
    needed: tuple[bool, bool, bool],
    kept: Kept | None = None,
) -> Gradients:
    """The needed gradients; x is None where that of the weight is not needed, and the other way round."""
    x_gradient = weight_gradient = bias_gradient = None
    if needed[2]:
        bias_gradient = y_gradient.sum(0 if layout == "batch_first" else 1).to(bias_dtype)
    if _is_batched(y_gradient):
        pair = _differentiate_definition(x, weight, y_gradient, weight_form, transposed, layout)
        return *pair, bias_gradient
    if weight is not None and needed[0]:
        x_gradient = multiply(y_gradient, weight, None, not transposed, algorithm, layout, kept=kept)
    if x is not None and needed[1]:
        # G[i, k, l, j] = Σ_n Y[n, (i, k, j)] X[n, (i, l, j)]: the outer product of each block
        pair = (x, y_gradient) if transposed else (y_gradient, x)
        equation = f"{Y_INDICES[layout]},{X_INDICES[layout]}->iklj"
        shape, dtype = weight_form
        indexed = (_indexed(activations, shape, layout) for activations in pair)
        # with the weight's strides, also of axes of size 1, by which data-parallel training compares
        weight_gradient = torch.einsum(equation, *indexed).to(dtype).flatten().view(shape)
    return x_gradient, weight_gradient, bias_gradient


def _differentiate_definition(
    x: torch.Tensor | None,
    weight: torch.Tensor | None,
    y_gradients: torch.Tensor,
    weight_form: WeightForm,
    transposed: bool,
    layout: Layout,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """For many gradients of Y at once (`is_grads_batched`), which few of torch's operators take."""
    shape, dtype = weight_form
    a, b, c, d = shape
    batch = y_gradients.shape[0 if layout == "batch_first" else 1]
    columns = a * (b if transposed else c) * d
    x_shape = (batch, columns) if layout == "batch_first" else (columns, batch)
    device = y_gradients.device
    # Y is linear in each operand: the values of one whose partner needs no gradient do not matter
    any_x = torch.zeros(x_shape, dtype=y_gradients.dtype, device=device) if x is None else x.detach()
    any_weight = torch.zeros(shape, dtype=dtype, device=device) if weight is None else weight.detach()
    any_x.requires_grad_(weight is not None)
    any_weight.requires_grad_(x is not None)
    with torch.enable_grad():
        y = _definition_product(any_weight.transpose(1, 2) if transposed else any_weight, None, layout, any_x)
    wanted = [operand for operand in (any_x, any_weight) if operand.requires_grad]
    found = iter(torch.autograd.grad(y, wanted, y_gradients) if wanted else ())
    return next(found) if any_x.requires_grad else None, next(found, None)


torch.library.register_autograd("kswatch::product", _backward, setup_context=_save, lib=_library)


class _Eager(torch.autograd.Function):
    """The same gradients without the dispatcher; torch's registered ones bind a signature at every call."""

    @staticmethod
    def forward(ctx: Any, kept: Kept | None, *inputs: Any) -> torch.Tensor:  # noqa: ANN401
        """The values. A weight that wants a gradient changes at each step, so nothing of it is kept."""
        x, weight, bias, transposed, algorithm, layout = inputs
        is_trained = weight.requires_grad and (kept is None or kept.source is None)
        ctx.kept = None if is_trained else kept
        y = _compute(x, weight, bias, transposed, algorithm, layout, ctx.kept)
        _save_needed(ctx, inputs, ctx.needs_input_grad[1:3])
        return y

    @staticmethod
    def backward(ctx: Any, y_gradient: torch.Tensor) -> Any:  # noqa: ANN401
        """See `_backward`."""
        return None, *_backward(ctx, y_gradient)


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


# ---- without Python -------------------------------------------------------------------------------


class Native:
    """The C++ of `native.py`, loaded at the first product that it could compute.

    Its functions return None for what they leave to Python.
    """

    def __init__(self) -> None:
        self.forward: Callable[[Any, torch.Tensor], torch.Tensor | None] = self._first_forward
        self.product: Callable[..., torch.Tensor | None] = _leave_to_python
        self.factor_type: type
        """The class of factors, which imports this module."""
        self.factor_forward: Callable[..., torch.Tensor]

    def _first_forward(self, layer: Any, x: torch.Tensor) -> torch.Tensor | None:  # noqa: ANN401  (a KSLinear)
        if not isinstance(x, torch.Tensor) or x.device.type != "cpu":
            return None
        weights = list(layer.factors.parameters())
        if not any(weight.numel() <= native.MOST_WEIGHTS for weight in weights):
            return None
        self.forward = _leave_to_python
        module = native.load()
        if module is not None:
            _cpu_library._destroy()
            native.start(module, _compute, differentiate, self.factor_type, self.factor_forward)
            self.forward, self.product = module.forward, module.product
        return self.forward(layer, x)


def _leave_to_python(*arguments: object) -> None:
    del arguments


NATIVE = Native()

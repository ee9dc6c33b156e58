"""One Kronecker-sparse factor with its weights."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any, NoReturn

import torch
from torch import nn
from torch.nn.utils import parametrize

from kswatch.errors import UsageError
from kswatch.kernels.layer.operator_formulas import define_product
from kswatch.kernels.layer.prepared_products import PRECISION_OF, Kept, precision_of
from kswatch.kernels.layer.torch_operator import NATIVE, is_transformed, multiply, product
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Layout

_get_tracing_state = torch._C._get_tracing_state


class KSFactor(nn.Module):
    """y = K x for one pattern, with any implementation and with gradients.

    Attributes:
        weight: Parameter of shape (a, b, c, d).
    """

    def __init__(
        self,
        pattern: Pattern,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if dtype not in (*PRECISION_OF, torch.float64):
            precision_of(dtype, torch.device("cpu"))
        self.pattern, self.kept = pattern, Kept()
        self.weight = nn.Parameter(torch.empty(pattern.as_tuple(), device=device, dtype=dtype))

    def forward(
        self, x: torch.Tensor, algorithm: str, layout: Layout, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The product with x of shape (batch, acd) or (acd, batch), plus the bias; batch may be 0.

        Raises:
            UsageError: x has a different dtype or device than the weight.
            UnsupportedError: the algorithm cannot compute this product here.
        """
        weight: torch.Tensor | None = self._parameters.get("weight")
        if weight is None:  # it is parametrized; tried last, since torch's attribute look-up is slow
            weight = self.weight
        if self.kept.scaled is not None and (self.kept.source is weight or torch.compiler.is_compiling()):
            return self.kept.scaled.multiply(weight, self.kept.present_bias(bias), x, layout)
        if x.dtype != weight.dtype or x.device != weight.device:
            _refuse_unless_autocast(x, weight)
        if torch.compiler.is_compiling():
            if self.kept.source is not None:
                weight, bias = self._frozen(weight, bias)
            compute = define_product if is_transformed() else product
            return compute(x, weight, bias, False, algorithm, layout)
        if _get_tracing_state() is not None and torch.onnx.is_in_onnx_export():  # dynamo=False
            return define_product(x, weight, bias, False, algorithm, layout)
        return multiply(x, weight, bias, False, algorithm, layout, kept=self.kept)

    def _frozen(
        self, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What is frozen, for compilers and exporters: with gradients to the parameters where they want any.

        An exporter puts other tensors in place of the parameters, so that these cannot be recognised.
        """
        kept = self.kept
        if torch.compiler.is_exporting():
            if kept.copy is None or (bias is not None and kept.other_biases):
                raise UsageError("a frozen factor of several layers cannot be exported; unfreeze them first")
            frozen, added = kept.copy.weight, None if bias is None else kept.frozen_bias[1]
        else:
            frozen, added = kept.present_weight(weight), kept.present_bias(bias)
        if not torch.is_grad_enabled():
            return frozen, added
        return _with_gradient(frozen, weight), None if bias is None else _with_gradient(added, bias)

    def reset_parameters(self, gain: float = 1.0) -> None:
        """Draw a new weight, so that the outputs' variance is `gain` times that of the inputs."""
        bound = sqrt(3 * gain / self.pattern.c)
        if parametrize.is_parametrized(self, "weight"):  # assigned, so that its originals are found
            values: Any = nn.init.uniform_(torch.empty_like(self.weight), -bound, bound)
            self.weight = values
        else:
            nn.init.uniform_(self.weight, -bound, bound)

    def __prepare_scriptable__(self) -> NoReturn:
        """Called by `torch.jit.script`, whose compiler cannot read the layer."""
        refuse_scripting()

    def extra_repr(self) -> str:
        """The pattern, for `print`."""
        return str(self.pattern)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> KSFactor:
        """Called by `.to()`, `.cuda()`, `.half()`; frees what is kept for the previous weight."""
        self.kept.clear()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *arguments: Any) -> None:  # noqa: ANN401
        """The same for weights that are replaced."""
        self.kept.clear()
        super()._load_from_state_dict(*arguments)


def _with_gradient(frozen: torch.Tensor | None, parameter: torch.Tensor) -> torch.Tensor:
    """The frozen values, with the gradient of the parameter that they are a copy of."""
    if frozen is None or frozen is parameter or not parameter.requires_grad:
        return parameter if frozen is None else frozen
    return frozen + (parameter - parameter.detach())


NATIVE.factor_type, NATIVE.factor_forward = KSFactor, KSFactor.forward


def refuse_scripting(module: str = "KSLinear") -> NoReturn:
    """Raise the sentence for `torch.jit.script`."""
    raise UsageError(
        f"torch.jit.script cannot compile {module}; use torch.jit.trace(model, example_input), or "
        "kswatch.export_portable for a .pt2 file that loads without this package"
    )


def _refuse_unless_autocast(x: torch.Tensor, weight: torch.Tensor) -> None:
    roundable = torch.float64 not in (x.dtype, weight.dtype) and x.is_floating_point()
    if x.device == weight.device and roundable and torch.is_autocast_enabled(x.device.type):
        return
    if x.is_quantized:
        raise UsageError(f"the input is quantised ({x.dtype}); pass x.dequantize()")
    raise UsageError(
        f"the input is {x.dtype} on {x.device}, the layer's weights are {weight.dtype} on "
        f"{weight.device}; convert either with .to()"
    )

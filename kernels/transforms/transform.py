"""`Transform`: a fixed matrix as a gather, a chain of Kronecker-sparse factors, and perhaps a real part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import nn
from torch.compiler import is_compiling

from kswatch.declared.precisions import LAYER_PRECISIONS
from kswatch.errors import UsageError
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.layer.algorithm_choice import AUTO, MEASURE, choose
from kswatch.kernels.layer.factor import refuse_scripting
from kswatch.kernels.layer.input_kinds import call_as_leaf, require_dense
from kswatch.kernels.layer.operator_formulas import define_product
from kswatch.kernels.layer.prepared_products import LaidOutWeight
from kswatch.kernels.layer.torch_operator import is_observed, is_plain, is_transformed
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import allows_tf32
from kswatch.kernels.problem import LAYOUTS, Layout, Precision, Problem

PRECISION_OF: dict[torch.dtype, Precision] = {
    STORAGE_DTYPES[precision]: precision for precision in LAYER_PRECISIONS if precision != "tf32"
}
SHORT_DTYPES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Steps:
    """What a transform does, in its order; the values are those of its matrix in float64."""

    name: str
    gather: torch.Tensor | None
    factors: Sequence[torch.Tensor]
    """Weights (a, b, c, d), right-most factor first."""
    has_real_output: bool = False


class _LaidOut(dict[bool, list[LaidOutWeight]]):
    """The factors of the chain and of its adjoint, with their products; copied and pickled as empty."""

    def __reduce__(self) -> tuple[type[_LaidOut], tuple[()]]:
        return _LaidOut, ()


class Transform(nn.Module):
    """y = T x along the last axis, or along the first one in `batch_last`; the other axes keep their sizes.

    Real inputs of a complex transform are taken as complex ones. Gradients reach x, of every order; the
    matrix has none. `algorithm` is the name of an implementation, `auto` or `measure`, as in `KSLinear`.
    Under the transforms of `torch.func`, for tracers and compilers and on the meta device, the chain is
    computed by torch's own operators.

    Attributes:
        n: Numbers that are transformed.
        patterns: The chain, right-most factor first.

    Raises:
        UsageError: the algorithm or the layout is unknown.
    """

    gather: torch.Tensor | None

    def __init__(
        self,
        steps: Steps,
        dtype: torch.dtype,
        algorithm: str = AUTO,
        layout: Layout = "batch_first",
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if layout not in LAYOUTS:
            raise UsageError(f"unknown layout {layout!r}; choose from {', '.join(LAYOUTS)}")
        self.transform, self.algorithm, self.layout = steps.name, algorithm, layout
        self.has_real_output, self.is_complex = steps.has_real_output, dtype.is_complex
        self.patterns = tuple(Pattern(*weights.shape) for weights in steps.factors)
        self.n = self.patterns[0].columns
        self.register_buffer("gather", None if steps.gather is None else steps.gather.to(device), False)
        for place, weights in enumerate(steps.factors):
            self.register_buffer(f"factor_{place}", weights.to(device, dtype), persistent=False)
        self._laid_out = _LaidOut()
        if algorithm not in (AUTO, MEASURE):
            first = Problem(self.patterns[0], 1, PRECISION_OF[dtype], layout)
            choose(algorithm, first, torch.device("cpu"), self._weights()[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The transform of x of shape (..., n), or (n, ...) in `batch_last`.

        Raises:
            UsageError: x is no dense tensor, or has another number of features, dtype or device.
            UnsupportedError: the algorithm cannot compute a factor here.
        """
        if isinstance(x, torch.fx.Proxy):
            return call_as_leaf(self, x)
        require_dense(x, "a transform")
        axis = -1 if self.layout == "batch_first" else 0
        if not x.dim() or x.shape[axis] != self.n:
            raise UsageError(
                f"{self.transform}({self.n}) takes {self.n} numbers on axis {axis} in {self.layout}; "
                f"the input has shape {tuple(x.shape)}"
            )
        flat = x.reshape((-1, self.n) if axis else (self.n, -1))
        if self.gather is not None:
            flat = flat.index_select(axis, self.gather)
        y = self._multiply(self._converted(flat), False)
        y = y.real.contiguous() if self.has_real_output else y
        return y.reshape(x.shape)

    def _converted(self, x: torch.Tensor) -> torch.Tensor:
        weights = self._weights()[0]
        dtype = weights.dtype
        if dtype.is_complex != self.is_complex or dtype not in PRECISION_OF:
            raise UsageError(f"{self.transform}({self.n}) was converted to {dtype}; make it anew")
        taken = (torch.float32, dtype) if dtype.is_complex else (dtype,)
        taken = taken[:1] if self.has_real_output else taken
        if x.dtype in SHORT_DTYPES and torch.float32 in taken and torch.is_autocast_enabled(x.device.type):
            x = x.float()  # as torch.fft does
        if x.dtype not in taken or x.device != weights.device:
            raise UsageError(
                f"the input is {x.dtype} on {x.device}, {self.transform}({self.n}) takes "
                f"{' or '.join(map(str, taken))} on {weights.device}; convert it with .to()"
            )
        return x.to(dtype)

    def _multiply(self, x: torch.Tensor, adjoint: bool) -> torch.Tensor:
        x = x.resolve_conj().resolve_neg()
        if is_compiling() or is_observed() or is_transformed() or not is_plain(x) or _is_batched(x):
            return self._by_definition(x, adjoint)
        if torch.is_grad_enabled() and x.requires_grad:
            return _Chain.apply(x, self, adjoint)
        return self._chain(x, adjoint)

    def _by_definition(self, x: torch.Tensor, adjoint: bool) -> torch.Tensor:
        """The chain by operators that torch can trace, differentiate and transform."""
        weights = self._weights()
        for weight in reversed(weights) if adjoint else weights:
            factor = weight.conj().resolve_conj() if adjoint else weight
            x = define_product(x, factor, None, adjoint, self.algorithm, self.layout)
        return x

    def _chain(self, x: torch.Tensor, adjoint: bool) -> torch.Tensor:
        batch = x.shape[0 if self.layout == "batch_first" else 1]
        if not batch:
            return x
        device = self._weights()[0].device
        with_tf32 = device.type == "cuda" and allows_tf32(device)
        precision = "tf32" if with_tf32 and x.dtype == torch.float32 else PRECISION_OF[x.dtype]
        y = x.detach().contiguous()
        for weight in self._laid_out_weights(adjoint):
            y = weight.multiply(y, None, (self.algorithm, batch, precision, self.layout, adjoint))
        return y

    def _laid_out_weights(self, adjoint: bool) -> list[LaidOutWeight]:
        """The factors in the order in which they multiply; those of a real adjoint are the same."""
        conjugated = adjoint and self.is_complex
        found = self._laid_out.get(conjugated)
        if found is None:
            weights = self._weights()
            weights = [weight.conj().resolve_conj() for weight in weights] if conjugated else weights
            found = self._laid_out[conjugated] = [LaidOutWeight(weight) for weight in weights]
        return found[::-1] if adjoint else found

    def _weights(self) -> list[torch.Tensor]:
        return [getattr(self, f"factor_{place}") for place in range(len(self.patterns))]

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Transform:
        """Called by `.to()` and `.cuda()`; drops the products of the previous factors."""
        self._laid_out.clear()
        return super()._apply(fn, recurse)

    def __prepare_scriptable__(self) -> NoReturn:
        """Called by `torch.jit.script`, whose compiler cannot read the transform."""
        refuse_scripting("a transform")

    def extra_repr(self) -> str:
        """The transform, for `print`."""
        return f"{self.transform}({self.n}), algorithm={self.algorithm!r}, layout={self.layout!r}"


_is_batched = torch._C._functorch.is_legacy_batchedtensor


class _Chain(torch.autograd.Function):
    """The chain with its gradient, which is the adjoint chain and has a gradient in turn."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, transform: Transform, adjoint: bool) -> torch.Tensor:  # noqa: ANN401
        """The values."""
        ctx.transform, ctx.adjoint = transform, adjoint
        return transform._chain(x, adjoint)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:  # noqa: ANN401
        """The adjoint of the gradient of y."""
        return ctx.transform._multiply(gradients[0], not ctx.adjoint), None, None

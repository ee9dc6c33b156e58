"""`Transform`: a fixed matrix as a gather, a chain of Kronecker-sparse factors, and perhaps a real part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kswatch.declared.precisions import LAYER_PRECISIONS
from kswatch.errors import UsageError
from kswatch.kernels.implementation import STORAGE_DTYPES, Product
from kswatch.kernels.layer.algorithm_choice import AUTO, MEASURE, choose
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import allows_tf32
from kswatch.kernels.problem import LAYOUTS, Layout, Precision, Problem

PRECISION_OF: dict[torch.dtype, Precision] = {
    STORAGE_DTYPES[precision]: precision for precision in LAYER_PRECISIONS if precision != "tf32"
}
MOST_BATCHES = 64
"""Batch sizes for which products are kept."""


@dataclass(frozen=True)
class Steps:
    """What a transform does, in its order; the values are those of its matrix in float64."""

    name: str
    gather: torch.Tensor | None
    factors: Sequence[torch.Tensor]
    """Weights (a, b, c, d), right-most factor first."""
    has_real_output: bool = False


class _Products(dict[tuple[int, bool, bool], list[Product]]):
    """Products by batch, whether of the adjoint, and whether in TF32; copied and pickled as empty."""

    def __reduce__(self) -> tuple[type[_Products], tuple[()]]:
        return _Products, ()


class Transform(nn.Module):
    """y = T x along the last axis, or along the first one in `batch_last`; the other axes keep their sizes.

    Real inputs of a complex transform are taken as complex ones. Gradients reach x, of every order; the
    matrix has none. `algorithm` is the name of an implementation, `auto` or `measure`, as in `KSLinear`.

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
        self._products = _Products()
        if algorithm not in (AUTO, MEASURE):
            choose(
                algorithm, self._problem(0, 1, False, self._dtype), torch.device("cpu"), self._weights()[0]
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The transform of x of shape (..., n), or (n, ...) in `batch_last`.

        Raises:
            UsageError: x has another number of features, dtype or device.
            UnsupportedError: the algorithm cannot compute a factor here.
        """
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
        widened = dtype.is_complex and x.dtype == torch.float32
        if (x.dtype != dtype and not widened) or x.device != weights.device:
            raise UsageError(
                f"the input is {x.dtype} on {x.device}, {self.transform}({self.n}) computes in {dtype} on "
                f"{weights.device}; convert either with .to()"
            )
        return x.to(dtype)

    def _multiply(self, x: torch.Tensor, adjoint: bool) -> torch.Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            return _Chain.apply(x, self, adjoint)
        return self._chain(x, adjoint)

    def _chain(self, x: torch.Tensor, adjoint: bool) -> torch.Tensor:
        batch = x.shape[0 if self.layout == "batch_first" else 1]
        if not batch:
            return x
        y = x.detach().resolve_conj().resolve_neg().contiguous()
        for product in self._products_of(batch, adjoint):
            y = product(y)
        return y

    def _products_of(self, batch: int, adjoint: bool) -> list[Product]:
        """The products of all factors, prepared at the first call with a batch."""
        device = self._weights()[0].device
        with_tf32 = device.type == "cuda" and allows_tf32(device)
        found = self._products.get((batch, adjoint, with_tf32))
        if found is None:
            if len(self._products) >= MOST_BATCHES:
                self._products.clear()
            found = [self._prepared(place, batch, adjoint) for place in range(len(self.patterns))]
            found = found[::-1] if adjoint else found
            self._products[batch, adjoint, with_tf32] = found
        return found

    def _prepared(self, place: int, batch: int, adjoint: bool) -> Product:
        weights = self._weights()[place]
        problem = self._problem(place, batch, adjoint, weights.dtype, weights.device)
        if adjoint:
            weights = weights.conj().resolve_conj().transpose(1, 2).contiguous()
        chosen = choose(self.algorithm, problem, weights.device, weights)
        return chosen.prepare(problem, weights)

    def _problem(
        self,
        place: int,
        batch: int,
        adjoint: bool,
        dtype: torch.dtype,
        device: torch.device = torch.device("cpu"),  # noqa: B008 (a value)
    ) -> Problem:
        a, b, c, d = self.patterns[place].as_tuple()
        precision = PRECISION_OF[dtype]
        if precision == "fp32" and device.type == "cuda" and allows_tf32(device):
            precision = "tf32"
        return Problem(Pattern(a, c, b, d) if adjoint else Pattern(a, b, c, d), batch, precision, self.layout)

    def _weights(self) -> list[torch.Tensor]:
        return [getattr(self, f"factor_{place}") for place in range(len(self.patterns))]

    @property
    def _dtype(self) -> torch.dtype:
        return self._weights()[0].dtype

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Transform:
        """Called by `.to()` and `.cuda()`; drops the products of the previous factors."""
        self._products.clear()
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """The transform, for `print`."""
        return f"{self.transform}({self.n}), algorithm={self.algorithm!r}, layout={self.layout!r}"


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

"""`KSLinear`: a linear layer whose matrix is a product of Kronecker-sparse factors."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import sqrt

import torch
from torch import nn

from kernels.catalogue import implementation
from kernels.gradient import DifferentiableProduct, formula
from kernels.heuristics.rules import PERMUTATION
from kernels.implementation import Implementation, Product
from kernels.pattern import Pattern
from kernels.precision import allows_tf32
from kernels.problem import LAYOUTS, Layout, Precision, Problem
from kswatch_errors import UsageError

PRECISION_OF: dict[torch.dtype, Precision] = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
}

PREPARED_BATCHES = 4
"""Batch sizes for which a factor keeps its weights re-laid out; each is a copy of them."""

PatternLike = Pattern | tuple[int, int, int, int] | str


class KSLinear(nn.Module):
    """y = K_n ... K_2 K_1 x + bias, with `patterns[0]`, the right-most factor, applied first.

    Takes (..., in_features) in `batch_first`, (in_features, ...) in `batch_last`; the other axes
    come out as they went in. `algorithm` is an implementation's name, or `auto`: fused where a
    heuristic says that it wins and it is to be had, else bmm. All algorithms have gradients.
    float32 is multiplied in TF32 where torch is set so.

    Weights edited behind autograd's back, through `weight.data[...] = `, are not noticed.

    Attributes:
        weights: One parameter of shape (a, b, c, d) per pattern.
        bias: Parameter of shape (out_features,), or None.

    Raises:
        UsageError: patterns that do not chain, an unknown algorithm or layout, a dtype without a precision.
    """

    def __init__(
        self,
        patterns: Sequence[PatternLike],
        bias: bool = True,
        algorithm: str = "auto",
        layout: Layout = "batch_first",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.patterns = _chain(patterns)
        if layout not in LAYOUTS:
            raise UsageError(f"unknown layout {layout!r}; choose from {', '.join(LAYOUTS)}")
        if algorithm != "auto":
            implementation(algorithm)
        dtype = dtype or torch.get_default_dtype()
        _precision_of(dtype)
        self.algorithm, self.layout = algorithm, layout
        self.in_features, self.out_features = self.patterns[0].columns, self.patterns[-1].rows
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(pattern.as_tuple(), device=device, dtype=dtype))
            for pattern in self.patterns
        )
        self.bias = nn.Parameter(torch.empty(self.out_features, device=device, dtype=dtype)) if bias else None
        self._prepared = [PreparedProducts() for _ in self.patterns]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights, so that the layer's outputs have the variance that `nn.Linear`'s have.

        That is a third of the input's: all factors but the last keep it, the last has nn.Linear's
        bound with the c inputs that each of its outputs sees.
        """
        *others, last = self.weights
        for weight in others:
            bound = sqrt(3 / weight.shape[2])
            nn.init.uniform_(weight, -bound, bound)
        bound = sqrt(1 / last.shape[2])
        nn.init.uniform_(last, -bound, bound)
        if self.bias is not None:
            bound = sqrt(1 / self.in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer applied to x.

        Raises:
            UsageError: x has another feature count, dtype or device than the weights.
            UnsupportedError: the algorithm cannot compute this product here.
        """
        self._check(x)
        features_last = self.layout == "batch_first"
        batch_shape = x.shape[:-1] if features_last else x.shape[1:]
        y = x.reshape((-1, self.in_features) if features_last else (self.in_features, -1)).contiguous()
        for pattern, weight, prepared in zip(self.patterns, self.weights, self._prepared, strict=True):
            y = self._multiply(pattern, weight, prepared, y)
        if self.bias is not None:
            y = y + (self.bias if features_last else self.bias[:, None])
        return y.view(
            (*batch_shape, self.out_features) if features_last else (self.out_features, *batch_shape)
        )

    def extra_repr(self) -> str:
        """The arguments, as `print` shows them."""
        patterns = ", ".join(str(pattern.as_tuple()) for pattern in self.patterns)
        bias = self.bias is not None
        return f"[{patterns}], bias={bias}, algorithm={self.algorithm!r}, layout={self.layout!r}"

    def _multiply(
        self, pattern: Pattern, weight: torch.Tensor, prepared: PreparedProducts, x: torch.Tensor
    ) -> torch.Tensor:
        batch = x.shape[0 if self.layout == "batch_first" else 1]
        if batch == 0:
            return formula(pattern, self.layout, weight, x)
        precision = "tf32" if x.dtype == torch.float32 and allows_tf32(x.device) else _precision_of(x.dtype)
        problem = Problem(pattern, batch, precision, self.layout)
        product = prepared.product(self.algorithm, problem, weight)
        if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
            return DifferentiableProduct.apply(x, weight, pattern, self.layout, product)
        return product(x)

    def _check(self, x: torch.Tensor) -> None:
        axis = -1 if self.layout == "batch_first" else 0
        if x.dim() == 0 or x.shape[axis] != self.in_features:
            raise UsageError(
                f"KSLinear takes {self.in_features} features on axis {axis} in {self.layout}; "
                f"the input has shape {tuple(x.shape)}: reshape it or choose the other layout"
            )
        weight = self.weights[0]
        if x.dtype != weight.dtype or x.device != weight.device:
            raise UsageError(
                f"the input is {x.dtype} on {x.device}, the layer's weights are {weight.dtype} on "
                f"{weight.device}; convert either with .to()"
            )

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> KSLinear:
        """Behind `.to()`, `.cuda()`, `.half()`: what was prepared for the former weights is let go."""
        for prepared in self._prepared:
            prepared.forget()
        return super()._apply(fn, recurse)


class PreparedProducts:
    """A factor's prepared products, for as long as its weights are what they were."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Free the re-laid weights."""
        self._products: dict[tuple[str, Problem], Product] = {}
        self._weights: Callable[[], torch.Tensor | None] = lambda: None
        self._state: tuple[int, int] | None = None

    def product(self, algorithm: str, problem: Problem, weights: torch.Tensor) -> Product:
        """The product prepared earlier for the same question and weights, or a new one."""
        state = _state(weights)
        if state is None or state != self._state or self._weights() is not weights:
            self.forget()
            self._weights, self._state = weakref.ref(weights), state
        product = self._products.get((algorithm, problem))
        if product is None:
            product = _chosen(algorithm, problem, weights.device).prepare(problem, weights.detach())
            if len(self._products) == PREPARED_BATCHES:
                del self._products[next(iter(self._products))]
            self._products[algorithm, problem] = product
        return product

    def __reduce__(self) -> tuple[type[PreparedProducts], tuple[()]]:
        """Copied and pickled empty: a copy has weights of its own."""
        return PreparedProducts, ()


def _chosen(algorithm: str, problem: Problem, device: torch.device) -> Implementation:
    if algorithm != "auto":
        return implementation(algorithm)
    fused = implementation("fused")
    if PERMUTATION.predict(problem, {}).predicts_fused and not fused.unsupported(problem, device):
        return fused
    return implementation("bmm")


def _state(weights: torch.Tensor) -> tuple[int, int] | None:
    """Where the weights lie and how often they were changed in place; None where torch does not count."""
    return None if weights.is_inference() else (weights.data_ptr(), weights._version)


def _chain(patterns: Sequence[PatternLike]) -> tuple[Pattern, ...]:
    if isinstance(patterns, (str, Pattern)):
        patterns = [patterns]
    chain = tuple(_as_pattern(pattern) for pattern in patterns)
    if not chain:
        raise UsageError("KSLinear needs at least one pattern, as in KSLinear([(6, 64, 64, 1)])")
    for first, then in pairwise(chain):
        if then.columns != first.rows:
            raise UsageError(
                f"patterns do not chain: ({first}) gives {first.rows} features, ({then}) takes "
                f"{then.columns}; list them right-most factor first"
            )
    return chain


def _as_pattern(pattern: PatternLike) -> Pattern:
    if isinstance(pattern, Pattern):
        return pattern
    if isinstance(pattern, str):
        return Pattern.parse(pattern)
    if isinstance(pattern, Sequence) and len(pattern) == 4:
        return Pattern(*pattern)
    raise UsageError(f"{pattern!r} is no pattern; KSLinear takes a list of them, as in [(6, 64, 64, 1)]")


def _precision_of(dtype: torch.dtype) -> Precision:
    if dtype not in PRECISION_OF:
        names = ", ".join(str(known) for known in PRECISION_OF)
        raise UsageError(f"KSLinear computes in {names}, not in {dtype}; pass dtype=torch.float32")
    return PRECISION_OF[dtype]

"""`KSLinear`: a linear layer whose matrix is a product of Kronecker-sparse factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import torch
from torch import nn
from torch.compiler import is_compiling

from kswatch.errors import UsageError
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.layer.algorithm_choice import AUTO, MEASURE
from kswatch.kernels.layer.factor import KSFactor
from kswatch.kernels.layer.fast_path import FastPaths, make_fast_path
from kswatch.kernels.layer.projection import chain_matrix, project
from kswatch.kernels.layer.torch_operator import needs_dispatcher
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import LAYOUTS, Layout

PatternLike = Pattern | tuple[int, int, int, int] | str


class KSLinear(nn.Module):
    """y = K_n ... K_2 K_1 x + bias, with `patterns[0]`, the right-most factor, applied first.

    Takes (..., in_features) in `batch_first`, (in_features, ...) in `batch_last`; the other axes keep
    their sizes. `algorithm` is the name of an implementation; or `auto`: the best available one according
    to the heuristics; or `measure`: the faster of their first two, timed on the first use of a batch size.
    Both decide once per problem and device. All algorithms have gradients. float32 is multiplied in TF32
    if torch's switch allows it; float64 by the definition, whatever the algorithm. Under autocast the layer
    computes in autocast's dtype, as `nn.Linear` does.

    Changes of the weights that autograd does not see, through `weight.data[...] = ` or a replayed CUDA
    graph, are not noticed.

    Attributes:
        factors: One `KSFactor` per pattern, with a `weight` of shape (a, b, c, d).
        bias: Parameter of shape (out_features,), or None.
        projection_error: Relative Frobenius error of a matrix made by `from_linear`; None otherwise.

    Raises:
        UsageError: the patterns do not chain, the algorithm or layout is unknown, or the dtype has no
            precision.
    """

    def __init__(
        self,
        patterns: Sequence[PatternLike],
        bias: bool = True,
        algorithm: str = AUTO,
        layout: Layout = "batch_first",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.patterns = _chain(patterns)
        if layout not in LAYOUTS:
            raise UsageError(f"unknown layout {layout!r}; choose from {', '.join(LAYOUTS)}")
        if algorithm not in (AUTO, MEASURE):
            implementation(algorithm)
        dtype = dtype or torch.get_default_dtype()
        self.algorithm, self.layout = algorithm, layout
        self.projection_error: float | None = None
        self._fast_paths = FastPaths()
        self.in_features, self.out_features = self.patterns[0].columns, self.patterns[-1].rows
        self.factors = nn.ModuleList(KSFactor(pattern, device, dtype) for pattern in self.patterns)
        self.bias = nn.Parameter(torch.empty(self.out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, so that the layer's outputs have the same variance as those of `nn.Linear`.

        That is a third of the input's variance: all factors but the last preserve the variance, the last
        has nn.Linear's bound for its c inputs per output.
        """
        gains = [1.0] * (len(self.patterns) - 1) + [1 / 3]
        for pattern, weight, gain in zip(self.patterns, self.factors.parameters(), gains, strict=True):
            bound = sqrt(3 * gain / pattern.c)
            nn.init.uniform_(weight, -bound, bound)
        if self.bias is not None:
            bound = sqrt(1 / self.in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        patterns: Sequence[PatternLike],
        algorithm: str = AUTO,
        layout: Layout = "batch_first",
    ) -> KSLinear:
        """The layer whose matrix is nearest to that of `linear`; `projection_error` is the distance.

        Bias, dtype and device are those of `linear`, which is not changed. The result is the nearest matrix
        for one and two factors, and for any chain whose product equals the matrix
        (`kswatch.kernels.layer.projection`).

        Raises:
            UsageError: the patterns do not chain, or make a matrix of another shape.
        """
        chain = _chain(patterns)
        projection = project(linear.weight, chain)
        has_bias = linear.bias is not None
        dtype, device = linear.weight.dtype, linear.weight.device
        layer = cls(chain, has_bias, algorithm, layout, device=device, dtype=dtype)
        with torch.no_grad():
            for parameter, weight in zip(layer.factors.parameters(), projection.weights, strict=True):
                parameter.copy_(weight)
            if layer.bias is not None:
                layer.bias.copy_(linear.bias)
        layer.projection_error = projection.relative_error
        return layer

    def to_linear(self) -> nn.Linear:
        """A dense layer with the same matrix and bias; its layout is (..., features) in any case."""
        weights = [weight.detach().double() for weight in self.factors.parameters()]
        dense = nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=weights[0].device,
            dtype=self.factors[0].weight.dtype,
        )
        with torch.no_grad():
            dense.weight.copy_(chain_matrix(weights))
            if self.bias is not None:
                dense.bias.copy_(self.bias)
        return dense

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Run `forward` and its hooks, or the fast path for this shape where it is valid."""
        if not is_compiling():
            fast_path = self._fast_paths.get(x.shape)
            if fast_path is not None and (y := fast_path(self, x)) is not None:
                return y
        return super().__call__(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer applied to x.

        Raises:
            UsageError: x has a feature count, dtype or device that differs from the weights.
            UnsupportedError: the algorithm cannot compute this product here.
        """
        y = self._by_factors(x)
        if not (is_compiling() or torch.is_grad_enabled() or needs_dispatcher(x)):
            self._fast_paths.add(x.shape, make_fast_path(self, x, y.shape))
        return y

    def _by_factors(self, x: torch.Tensor) -> torch.Tensor:
        algorithm, layout = self.algorithm, self.layout
        features_last = layout == "batch_first"
        shape = x.shape
        if not shape or shape[-1 if features_last else 0] != self.in_features:
            raise UsageError(
                f"KSLinear takes {self.in_features} features on axis {-1 if features_last else 0} in "
                f"{layout}; the input has shape {tuple(shape)}: reshape it or choose the other layout"
            )
        y = x
        if len(shape) != 2:
            y = x.reshape((-1, self.in_features) if features_last else (self.in_features, -1))
        for factor, bias in zip(self.factors, self.biases(), strict=True):
            y = factor(y, algorithm, layout, bias)
        if len(shape) == 2:
            return y
        return y.view((*shape[:-1], self.out_features) if features_last else (self.out_features, *shape[1:]))

    def biases(self) -> list[torch.Tensor | None]:
        """The bias of each factor: None for all but the last."""
        return [*([None] * (len(self.patterns) - 1)), self.bias]

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> KSLinear:
        """Called by `.to()`, `.cuda()`, `.half()`; drops the fast paths for the previous weights."""
        self._fast_paths.clear()
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """The arguments except for the patterns, which `print` shows below them."""
        return f"bias={self.bias is not None}, algorithm={self.algorithm!r}, layout={self.layout!r}"


def _chain(patterns: Sequence[PatternLike]) -> tuple[Pattern, ...]:
    if isinstance(patterns, (str, Pattern)):
        patterns = [patterns]
    chain = tuple(_as_pattern(pattern) for pattern in patterns)
    if not chain:
        raise UsageError("KSLinear needs at least one pattern, as in KSLinear([(6, 64, 64, 1)])")
    check_chain(chain)
    return chain


def _as_pattern(pattern: PatternLike) -> Pattern:
    if isinstance(pattern, Pattern):
        return pattern
    if isinstance(pattern, str):
        return Pattern.parse(pattern)
    if isinstance(pattern, Sequence) and len(pattern) == 4:
        return Pattern(*pattern)
    raise UsageError(f"{pattern!r} is not a pattern; KSLinear takes a list of them, as in [(6, 64, 64, 1)]")

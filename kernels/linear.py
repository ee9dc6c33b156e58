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
from kswatch.kernels.layer.fast_path import Shortcuts, shortcut
from kswatch.kernels.layer.projection import chain_matrix, project
from kswatch.kernels.layer.torch_operator import is_watched
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import LAYOUTS, Layout

PatternLike = Pattern | tuple[int, int, int, int] | str


class KSLinear(nn.Module):
    """y = K_n ... K_2 K_1 x + bias, with `patterns[0]`, the right-most factor, applied first.

    Takes (..., in_features) in `batch_first`, (in_features, ...) in `batch_last`; the other axes
    come out as they went in. `algorithm` is an implementation's name; or `auto`: the one that
    heuristics name, of those to be had here; or `measure`: the faster of their first two, timed when
    a batch size is first met. Both decide once per problem and device. All algorithms have gradients.
    float32 is multiplied in TF32 where torch is set so; float64 by the definition, whatever the
    algorithm. Under autocast the layer computes in autocast's dtype, as `nn.Linear` does.

    Weights edited behind autograd's back, through `weight.data[...] = ` or a replayed CUDA graph, are
    not noticed.

    Attributes:
        factors: One `KSFactor` per pattern, with a `weight` of shape (a, b, c, d).
        bias: Parameter of shape (out_features,), or None.
        projection_error: Relative Frobenius error of the matrix that `from_linear` made; None elsewhere.

    Raises:
        UsageError: patterns that do not chain, an unknown algorithm or layout, a dtype without a precision.
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
        self._shortcuts = Shortcuts()
        self.in_features, self.out_features = self.patterns[0].columns, self.patterns[-1].rows
        self.factors = nn.ModuleList(KSFactor(pattern, device, dtype) for pattern in self.patterns)
        self.bias = nn.Parameter(torch.empty(self.out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh weights, so that the layer's outputs have the variance that `nn.Linear`'s have.

        That is a third of the input's: all factors but the last keep it, the last has nn.Linear's
        bound with the c inputs that each of its outputs sees.
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
        """The layer whose matrix is nearest to that of `linear`; `projection_error` says how near.

        Bias, dtype and device are those of `linear`, which stays as it is. The nearest is exact for one
        and two factors, and where the matrix is such a product (`kswatch.kernels.layer.projection`).

        Raises:
            UsageError: patterns that do not chain, or that make a matrix of another shape.
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
        """A dense layer with the same matrix and bias, in (..., features) whatever this layer's layout."""
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
        """`forward` and its hooks; the same by a shortcut where one is open, before torch's own machinery."""
        if not is_compiling():
            take = self._shortcuts.get(x.shape)
            if take is not None and (y := take(self, x)) is not None:
                return y
        return super().__call__(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer applied to x.

        Raises:
            UsageError: x has another feature count, dtype or device than the weights.
            UnsupportedError: the algorithm cannot compute this product here.
        """
        y = self._by_factors(x)
        if not (is_compiling() or torch.is_grad_enabled() or is_watched(x)):
            self._shortcuts.keep(x.shape, shortcut(self, x, y.shape))
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
        """What is added to each factor's product: the bias to the last."""
        return [*([None] * (len(self.patterns) - 1)), self.bias]

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> KSLinear:
        """Behind `.to()`, `.cuda()`, `.half()`: what was prepared for the former weights is let go."""
        self._shortcuts.clear()
        return super()._apply(fn, recurse)

    def extra_repr(self) -> str:
        """The arguments but for the patterns, which `print` shows below them."""
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
    raise UsageError(f"{pattern!r} is no pattern; KSLinear takes a list of them, as in [(6, 64, 64, 1)]")

"""`KSLinear`: a linear layer whose matrix is a product of Kronecker-sparse factors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, Literal, NoReturn, get_args

import torch
from torch import nn
from torch.compiler import is_compiling

from kswatch.errors import UsageError
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.layer import freezing
from kswatch.kernels.layer.algorithm_choice import AUTO, LAYER_ALGORITHMS
from kswatch.kernels.layer.chain.product import multiply_pair
from kswatch.kernels.layer.dense_source import read_dense
from kswatch.kernels.layer.dense_weight import dense_weight, refuse_to_write
from kswatch.kernels.layer.factor import KSFactor, refuse_scripting
from kswatch.kernels.layer.input_kinds import apply_to_nested, call_as_leaf, is_dense
from kswatch.kernels.layer.operator_formulas import register_formulas
from kswatch.kernels.layer.projection import chain_matrix, check_projection, project
from kswatch.kernels.layer.torch_operator import NATIVE
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import LAYOUTS, Layout
from kswatch.kernels.reference import ScalePer

register_formulas()

EXTRA_STATE = "_extra_state"
"""torch's name for state that is no parameter, which checkpoints of all kinds know."""

PatternLike = Pattern | tuple[int, int, int, int] | str


class KSLinear(nn.Module):
    """y = K_n ... K_2 K_1 x + bias, with `patterns[0]`, the right-most factor, applied first.

    Takes (..., in_features) in `batch_first`, (in_features, ...) in `batch_last`; the other axes keep
    their sizes. `algorithm` is the name of an implementation; or `auto`: the best available one according
    to the heuristics; or `measure`: the faster of their first two, timed on first use. Both decide once
    per device, precision and bucket of batch sizes, up to each power of two. Both, and
    `fused_chain`, multiply by two factors in one pass where `fused` is chosen for both: the intermediate
    stays in the cache of a CPU, with the bits of two products, or in the shared memory of a GPU, where only
    `fused_chain` does so without a prediction that it pays. Three factors and more are paired from the
    first on. All algorithms have gradients; after one pass the backward pass computes the intermediate again,
    with the weights of the forward pass. `keep_intermediate` trades that product for memory: where a gradient
    is wanted, the factors are multiplied one after the other, and autograd keeps what is between. float32
    is multiplied in TF32 if torch's switch allows it; float64 by the definition, whatever the algorithm.
    Under autocast the layer computes in autocast's dtype, as `nn.Linear` does.

    Each call uses the weights as they are then, however they were changed: by a fused optimiser, a
    collective, through `.data`, NumPy or another process. `freeze` keeps products of the present weights.

    Attributes:
        factors: One `KSFactor` per pattern, with a `weight` of shape (a, b, c, d).
        bias: Parameter of shape (out_features,), or None.
        projection_error: Relative Frobenius error of a matrix made by `from_linear`; None otherwise.

    Raises:
        UsageError: the patterns do not chain, the algorithm or layout is unknown, or the dtype has no
            precision.
    """

    keep_intermediate = False
    """Layers that were pickled by earlier versions have none of their own."""

    def __init__(
        self,
        patterns: Sequence[PatternLike],
        bias: bool = True,
        algorithm: str = AUTO,
        layout: Layout = "batch_first",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        keep_intermediate: bool = False,
    ) -> None:
        super().__init__()
        self.patterns = _chain(patterns)
        if layout not in LAYOUTS:
            raise UsageError(f"unknown layout {layout!r}; choose from {', '.join(LAYOUTS)}")
        if algorithm not in LAYER_ALGORITHMS:
            implementation(algorithm)
        dtype = dtype or torch.get_default_dtype()
        self.algorithm, self.layout, self.keep_intermediate = algorithm, layout, keep_intermediate
        self.projection_error: float | None = None
        self.in_features, self.out_features = self.patterns[0].columns, self.patterns[-1].rows
        self.factors = nn.ModuleList(KSFactor(pattern, device, dtype) for pattern in self.patterns)
        values = torch.empty(self.out_features, device=device, dtype=dtype) if bias else None
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None if values is None else nn.Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, so that the layer's outputs have the same variance as those of `nn.Linear`.

        That is a third of the input's variance: all factors but the last preserve the variance, the last
        has nn.Linear's bound for its c inputs per output.
        """
        gains = [1.0] * (len(self.patterns) - 1) + [1 / 3]
        for factor, gain in zip(self.factors, gains, strict=True):
            factor.reset_parameters(gain)  # type: ignore[operator]
        if self.bias is not None:
            bound = sqrt(1 / self.in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    @classmethod
    def from_linear(
        cls,
        linear: nn.Module,
        patterns: Sequence[PatternLike],
        algorithm: str = AUTO,
        layout: Layout = "batch_first",
    ) -> KSLinear:
        """The layer whose matrix is nearest to that of `linear`; `projection_error` is the distance.

        Bias, dtype, device, training mode and requires_grad are those of `linear`, which is not changed. The
        result is the nearest matrix for one and two factors, and for any chain whose product equals the
        matrix (`kswatch.kernels.layer.projection`). On the meta device, the layer has no values either.

        Args:
            linear: An `nn.Linear`, or the `Conv1D` of transformers, whose weight is stored transposed.
            patterns: The chain, right-most factor first.
            algorithm: As in `KSLinear`.
            layout: As in `KSLinear`.

        Raises:
            UsageError: the patterns do not chain, or make a matrix of another shape; or the layer is of
                another kind, or its weights are quantised, sharded, not made yet, NaN or infinite.
        """
        chain, source = _chain(patterns), read_dense(linear)
        check_projection(source.matrix, chain)
        dtype, device = source.matrix.dtype, source.matrix.device
        layer = cls(chain, source.bias is not None, algorithm, layout, device=device, dtype=dtype)
        if not source.matrix.is_meta:
            projection = project(source.matrix, chain)
            with torch.no_grad():
                for weight, values in zip(layer._weights(), projection.weights, strict=True):
                    weight.copy_(values)
                if layer.bias is not None and source.bias is not None:
                    layer.bias.copy_(source.bias)
            layer.projection_error = projection.relative_error
        layer.factors.requires_grad_(source.matrix_requires_grad)
        if layer.bias is not None:
            layer.bias.requires_grad_(source.bias_requires_grad)
        return layer.train(linear.training)

    def to_linear(self) -> nn.Linear:
        """A dense layer with the same matrix, bias and flags; its layout is (..., features) in any case."""
        weights = self._weights()
        dense = nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=weights[0].device,
            dtype=weights[0].dtype,
        )
        with torch.no_grad():
            dense.weight.copy_(chain_matrix([weight.double() for weight in weights]))
            if self.bias is not None:
                dense.bias.copy_(self.bias)
        dense.weight.requires_grad_(any(weight.requires_grad for weight in self.factors.parameters()))
        if self.bias is not None:
            dense.bias.requires_grad_(self.bias.requires_grad)
        return dense.train(self.training)

    @property
    def weight(self) -> torch.Tensor:
        """The layer's matrix (out_features, in_features), for code that reads a linear layer's `.weight`.

        Computed from the factors when its values are used, with gradients to them
        (`kswatch.kernels.layer.dense_weight`); writing to it raises `UsageError`.
        """
        return dense_weight(self._weights(), self.out_features, self.in_features)

    @weight.setter
    def weight(self, value: object) -> None:
        del value
        refuse_to_write()

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """As in `nn.Module`; `weight` is refused."""
        if name == "weight":
            refuse_to_write()
        super().register_parameter(name, param)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer applied to x, which may be a nested tensor in `batch_first`.

        Raises:
            UsageError: x has a feature count, dtype or device that differs from the weights, or is no dense
                tensor.
            UnsupportedError: the algorithm cannot compute this product here.
        """
        if not is_compiling() and type(self) is KSLinear and (y := NATIVE.forward(self, x)) is not None:
            return y
        if self.training:
            freezing.refuse_training(self)
        if not is_dense(x):
            if isinstance(x, torch.fx.Proxy):
                return call_as_leaf(self, x)
            return apply_to_nested(self._by_factors, x, self.layout == "batch_first")
        return self._by_factors(x)

    def _by_factors(self, x: torch.Tensor) -> torch.Tensor:
        layout = self.layout
        features_last = layout == "batch_first"
        shape = x.shape
        if not shape or not _equal(shape[-1 if features_last else 0], self.in_features):
            sizes = tuple(map(int, shape))
            raise UsageError(
                f"KSLinear takes {self.in_features} features on axis {-1 if features_last else 0} in "
                f"{layout}; the input has shape {sizes}: reshape it or choose the other layout"
            )
        y = x
        if len(shape) != 2:
            y = x.reshape((-1, self.in_features) if features_last else (self.in_features, -1))
        y = self._multiply(y)
        if len(shape) == 2:
            return y
        return y.view((*shape[:-1], self.out_features) if features_last else (self.out_features, *shape[1:]))

    def _multiply(self, y: torch.Tensor) -> torch.Tensor:
        """The factors and the bias applied to a matrix, two factors in one pass where that is possible."""
        algorithm, layout, place = self.algorithm, self.layout, 0
        factors = list(zip(self.factors, self.biases(), strict=True))
        while place < len(factors):
            (factor, bias), following = factors[place], factors[place + 1 : place + 2]
            in_pair = None
            if following and bias is None and not is_compiling():
                pair, pair_bias = (factor, following[0][0]), following[0][1]
                in_pair = multiply_pair(pair, y, algorithm, layout, pair_bias, self.keep_intermediate)
            y = factor(y, algorithm, layout, bias) if in_pair is None else in_pair
            place += 1 if in_pair is None else 2
        return y

    def freeze(self, precision: Literal["fp8"] | None = None, scale_per: ScalePer = "row") -> KSLinear:
        """Keep products of the present weights and bias, and use them until `refresh` or `unfreeze`.

        Changes of the weights have no effect until then, in exchange for not being looked for. `.to()` and
        `load_state_dict` undo it; copies and unpickled layers are not frozen; the state_dict is the same.

        In fp8 the weights are quantised now, to e4m3; each input is quantised when it comes, with one scale,
        unless it is e4m3 or e5m2 already. `fused` multiplies, whatever the algorithm, and rounds to bf16.
        There are no gradients, and no compiled or traced calls.

        Args:
            precision: `fp8`, or None for that of the inputs.
            scale_per: What has a scale of its own in fp8: each `row` of a factor's matrix, or its `tensor`.

        Returns:
            The layer itself.

        Raises:
            UsageError: the weights want gradients in training mode; or they are computed, sharded or on
                meta; or the precision or the choice of scales is another one.
        """
        if precision not in (None, "fp8"):
            raise UsageError(f"a layer is frozen in its own precision or in fp8, not in {precision!r}")
        if scale_per not in get_args(ScalePer):
            known = ", ".join(get_args(ScalePer))
            raise UsageError(f"unknown choice of scales {scale_per!r}; choose from {known}")
        freezing.freeze(self, scale_per if precision else None)
        return self

    def refresh(self) -> KSLinear:
        """Replace what a frozen layer keeps by products of its present weights; returns the layer."""
        if self.is_frozen:
            freezing.refresh(self)
        return self

    def unfreeze(self) -> KSLinear:
        """Compute with the weights as they are at each call again, as a new layer does; returns the layer."""
        freezing.release(self)
        return self

    @property
    def is_frozen(self) -> bool:
        """Whether products of earlier weights are kept; see `freeze`."""
        return freezing.is_frozen(self)

    def _weights(self) -> list[torch.Tensor]:
        """The weight of each factor, computed where it is parametrized."""
        return [factor.weight for factor in self.factors]  # type: ignore[misc]

    def biases(self) -> list[torch.Tensor | None]:
        """The bias of each factor: None for all but the last."""
        return [*([None] * (len(self.patterns) - 1)), self.bias]

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Weights, bias, and the projection error where there is one, as torch's extra state."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.projection_error is not None:
            error = torch.tensor(self.projection_error, dtype=torch.float64, device="cpu")
            destination[prefix + EXTRA_STATE] = error

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        """The same; loaded weights without a projection error, as saved by version 0.1, leave None."""
        freezing.release(self)
        error = state_dict.pop(prefix + EXTRA_STATE, None)
        if error is not None or any(key.startswith(f"{prefix}factors.") for key in state_dict):
            self.projection_error = None if error is None else float(error)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> KSLinear:
        """Called by `.to()`, `.cuda()`, `.half()`; drops what is kept for the previous weights."""
        freezing.release(self)
        return super()._apply(fn, recurse)

    def __prepare_scriptable__(self) -> NoReturn:
        """Called by `torch.jit.script`, whose compiler cannot read the layer."""
        refuse_scripting()

    def extra_repr(self) -> str:
        """The arguments except for the patterns, which `print` shows below them."""
        arguments = f"bias={self.bias is not None}, algorithm={self.algorithm!r}, layout={self.layout!r}"
        return f"{arguments}, frozen=True" if self.is_frozen else arguments


def _chain(patterns: Sequence[PatternLike]) -> tuple[Pattern, ...]:
    if isinstance(patterns, (str, Pattern)):
        patterns = [patterns]
    chain = tuple(_as_pattern(pattern) for pattern in patterns)
    if not chain:
        raise UsageError("KSLinear needs at least one pattern, as in KSLinear([(6, 64, 64, 1)])")
    check_chain(chain)
    return chain


def _equal(size: int | torch.Tensor, features: int) -> bool:
    """Whether an axis has this size, which `torch.jit.trace` passes as a tensor and warns of comparing."""
    if isinstance(size, torch.Tensor):
        with warnings.catch_warnings(action="ignore", category=torch.jit.TracerWarning):
            return int(size) == features
    return size == features


def _as_pattern(pattern: PatternLike) -> Pattern:
    if isinstance(pattern, Pattern):
        return pattern
    if isinstance(pattern, str):
        return Pattern.parse(pattern)
    if isinstance(pattern, Sequence) and len(pattern) == 4:
        return Pattern(*pattern)
    raise UsageError(f"{pattern!r} is not a pattern; KSLinear takes a list of them, as in [(6, 64, 64, 1)]")

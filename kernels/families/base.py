"""A layer's shape, and the interface of a family: sizes, parameters, operations and bytes as arithmetic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from kswatch.declared.implementations import FUSED_CHAIN, names_in_chains
from kswatch.declared.precisions import SUITE_PRECISIONS, check_layer_precision, multiply_add_flops
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import ELEMENT_BYTES, LAYOUTS, Layout, Precision, Problem

Size = tuple[int, ...]
"""The numbers of a family that a layer's shape leaves open, in the order of the family's `size_names`."""

GRAIN = 8
"""Ranks are multiples of this, which fill vector registers and tensor cores."""

FACTOR_IMPLEMENTATIONS = ("fused", *names_in_chains(), "auto")
"""Algorithms by which the factors of a chain are computed; `auto` chooses one for each."""
CHAIN_IMPLEMENTATIONS = (*FACTOR_IMPLEMENTATIONS, FUSED_CHAIN)
"""Algorithms of `KSLinear` by which a chain is computed."""


@dataclass(frozen=True, order=True, slots=True)
class LayerShape:
    """A linear map to be computed: Y = X Wᵀ (`batch_first`) or Y = W X (`batch_last`), without a bias."""

    in_features: int
    out_features: int
    batch: int
    precision: Precision = "fp32"
    layout: Layout = "batch_first"

    def __post_init__(self) -> None:
        for name in ("in_features", "out_features", "batch"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"layer: {name} = {value!r} is not an integer >= 1")
        check_layer_precision(self.precision)
        if self.layout not in LAYOUTS:
            raise UsageError(f"unknown layout {self.layout!r}; choose from {', '.join(LAYOUTS)}")

    def __str__(self) -> str:
        sides = f"{self.in_features} -> {self.out_features}"
        return f"{sides} batch {self.batch} {self.precision} {self.layout}"

    @property
    def element_bytes(self) -> int:
        """Bytes per stored element."""
        return ELEMENT_BYTES[self.precision]

    @property
    def input_shape(self) -> tuple[int, int]:
        """Shape of X: (batch, in_features) or (in_features, batch)."""
        shape = (self.batch, self.in_features)
        return shape if self.layout == "batch_first" else (shape[1], shape[0])

    @property
    def output_shape(self) -> tuple[int, int]:
        """Shape of Y: (batch, out_features) or (out_features, batch)."""
        shape = (self.batch, self.out_features)
        return shape if self.layout == "batch_first" else (shape[1], shape[0])

    @property
    def dense_parameters(self) -> int:
        """Weights of the dense layer."""
        return self.in_features * self.out_features

    @property
    def dense_flops(self) -> int:
        """Operations of the dense layer: 2·batch·in·out, of complex numbers four times as many."""
        return multiply_add_flops(self.precision) * self.batch * self.dense_parameters


class Family(ABC):
    """A way to parametrise a layer's matrix. Different families are different matrices of equal shape."""

    name: ClassVar[str]
    statement: ClassVar[str]
    """The family in one line, with its source."""
    size_names: ClassVar[tuple[str, ...]] = ()
    implementations: ClassVar[tuple[str, ...]]
    """Names of the ways to compute a layer of this family."""
    precisions: ClassVar[tuple[Precision, ...]] = SUITE_PRECISIONS
    """Those of a layer's inputs and outputs."""
    typical_size: ClassVar[Size] = ()
    """A size that most shapes allow, for the reason where a shape has none."""

    @abstractmethod
    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """Sizes whose parameters are nearest to a share of the dense layer's; empty where the shape has none.

        A family without a free size returns the same at each share.
        """

    @abstractmethod
    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """Why there is no layer of this shape and size, as a sentence; None where there is one."""

    def shape_reason(self, in_features: int, out_features: int) -> str:
        """Why `sizes` has none for a shape, as a sentence."""
        reason = self.size_reason(in_features, out_features, self.typical_size)
        return reason or f"{self.name} has no size for {in_features} -> {out_features}"

    @abstractmethod
    def parameters(self, in_features: int, out_features: int, size: Size) -> int:
        """Trainable numbers, without a bias."""

    @abstractmethod
    def flops(self, shape: LayerShape, size: Size) -> int:
        """Operations that the structure needs; an implementation may execute more."""

    def compulsory_bytes(self, shape: LayerShape, size: Size) -> int:
        """Bytes that no implementation can avoid: X and all parameters read once, Y written once."""
        activations = shape.batch * (shape.in_features + shape.out_features)
        parameters = self.parameters(shape.in_features, shape.out_features, size)
        return shape.element_bytes * (activations + parameters)

    def implementation_reason(
        self, shape: LayerShape, size: Size, implementation: str, device_kind: str
    ) -> str | None:
        """Why a device of this kind (`cpu` or `cuda`) cannot compute such a layer so; None where it may.

        What depends on the machine (installed libraries, the GPU's model) is asked of
        `kswatch.kernels.family_layers`.
        """
        del device_kind
        if implementation not in self.implementations:
            names = ", ".join(self.implementations)
            return f"{self.name} is not computed by {implementation}; choose from {names}"
        if shape.precision not in self.precisions:
            return f"computed in {', '.join(self.precisions)}, not in {shape.precision}"
        return self.size_reason(shape.in_features, shape.out_features, size)


class ChainFamily(Family):
    """A family whose matrix is a product of Kronecker-sparse factors, computed as `KSLinear`."""

    implementations: ClassVar[tuple[str, ...]] = CHAIN_IMPLEMENTATIONS

    @abstractmethod
    def chain(self, in_features: int, out_features: int, size: Size) -> tuple[Pattern, ...]:
        """The patterns, right-most factor first, of a size that `size_reason` accepts."""

    def implementation_reason(
        self, shape: LayerShape, size: Size, implementation: str, device_kind: str
    ) -> str | None:
        """See `Family`; one pass takes two factors."""
        reason = super().implementation_reason(shape, size, implementation, device_kind)
        if reason is not None or implementation != FUSED_CHAIN:
            return reason
        if len(self.chain(shape.in_features, shape.out_features, size)) < 2:
            return "a chain of one factor has no intermediate to keep on the chip; choose fused"
        return None

    def parameters(self, in_features: int, out_features: int, size: Size) -> int:
        """The sum of abcd."""
        return sum(pattern.nonzeros for pattern in self.chain(in_features, out_features, size))

    def flops(self, shape: LayerShape, size: Size) -> int:
        """2·batch times the sum of abcd, of complex numbers 8."""
        weights = sum(one.nonzeros for one in self.chain(shape.in_features, shape.out_features, size))
        return multiply_add_flops(shape.precision) * shape.batch * weights

    def factor_problems(self, shape: LayerShape, size: Size) -> tuple[Problem, ...]:
        """The product of each factor, the right-most first."""
        chain = self.chain(shape.in_features, shape.out_features, size)
        return tuple(Problem(one, shape.batch, shape.precision, shape.layout) for one in chain)


def chain_reason(chain: Iterable[Pattern], in_features: int, out_features: int) -> str | None:
    """Why patterns do not make a layer of this shape, as a sentence; None where they do."""
    patterns = tuple(chain)
    try:
        check_chain(patterns)
    except UsageError as error:
        return str(error)
    sides = patterns[0].columns, patterns[-1].rows
    if sides != (in_features, out_features):
        return f"the chain makes {sides[0]} -> {sides[1]}, not {in_features} -> {out_features}"
    return None


def nearest_multiple(value: float, grain: int = GRAIN) -> int:
    """The multiple of `grain` nearest to a value, at least one grain."""
    return max(grain, grain * round(value / grain))


def square_divisor(number: int) -> int:
    """The divisor nearest to the square root, the smaller of two."""
    return next(one for one in reversed(divisors(number)) if one <= sqrt(number))


def divisors(number: int) -> list[int]:
    """All divisors in ascending order."""
    small = [one for one in range(1, int(sqrt(number)) + 1) if number % one == 0]
    return sorted({*small, *(number // one for one in small)})

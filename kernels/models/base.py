"""A model and its variants as arithmetic: which modules are replaced, parameters, operations, bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kswatch.declared.implementations import names_in_chains
from kswatch.errors import UsageError
from kswatch.kernels.families.base import LayerShape, chain_reason
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import ELEMENT_BYTES, Layout, Precision

Chain = tuple[Pattern, ...]

DENSE = "dense"
PUBLISHED, FAIR = "published", "fair"
"""The two dense variants: as the authors' code computes it, and as an expert writes it with stock torch."""
FUSED, AUTO = "fused", "auto"
MODEL_BASELINES = names_in_chains()
"""The named set of single baselines: each is used in all replaced modules of a variant of its own."""
IMPLEMENTATIONS = (FUSED, *MODEL_BASELINES, AUTO)


@dataclass(frozen=True)
class LinearModule:
    """A linear module that occurs once in each block."""

    name: str
    in_features: int
    out_features: int

    @property
    def weights(self) -> int:
        """in·out."""
        return self.in_features * self.out_features


@dataclass(frozen=True)
class ModelStructure:
    """The chains that are put into a model's blocks; none for `dense`."""

    name: str
    """As in a variant's name."""
    chains: Mapping[str, Chain] = field(default_factory=dict, hash=False)
    """By the name of the module; the right-most factor first."""


@dataclass(frozen=True)
class Variant:
    """A structure and what computes it."""

    structure: ModelStructure
    implementation: str
    """`published` or `fair` for dense; an algorithm of `KSLinear`, used in all replaced modules, else."""

    def __str__(self) -> str:
        return f"{self.structure.name}/{self.implementation}"


@dataclass(frozen=True)
class Model:
    """A named network with random weights; one forward pass is the product."""

    name: str
    statement: str
    rows: int
    """Rows of the linear modules for one sample: patches or tokens."""
    width: int
    heads: int
    blocks: int
    modules: tuple[LinearModule, ...]
    """Those of a block that may be replaced or not."""
    block_vectors: int
    """Parameters of a block beside its matrices: biases, normalisations."""
    outer_parameters: int
    """Parameters outside the blocks."""
    outer_flops: int
    """Operations of matrix products outside the blocks, for one sample."""
    input_elements: int
    """Of one sample."""
    output_elements: int
    structures: tuple[ModelStructure, ...]
    """Those that are measured, without `dense`."""

    def variants(self) -> tuple[Variant, ...]:
        """The dense ones, then each structure by fused, by each baseline, and by `auto`."""
        dense = ModelStructure(DENSE)
        return (
            Variant(dense, PUBLISHED),
            Variant(dense, FAIR),
            *(Variant(one, name) for one in self.structures for name in IMPLEMENTATIONS),
        )

    def variant(self, text: str) -> Variant:
        """The variant of a name, such as `dense/fair` or `ks/fused`.

        Raises:
            UsageError: there is none.
        """
        for one in self.variants():
            if str(one) == text:
                return one
        names = ", ".join(map(str, self.variants()[:4]))
        raise UsageError(f"{self.name} has no variant {text!r}; choose from {names}, ...")

    def parameters(self, variant: Variant) -> int:
        """Trainable numbers."""
        return self.outer_parameters + self.blocks * (self.block_vectors + self._block_weights(variant))

    def flops(self, variant: Variant, batch: int) -> int:
        """Operations of the matrix products of one forward, those of attention over whole rows included."""
        attention = 4 * self.rows**2 * self.width
        block = 2 * self.rows * self._block_weights(variant) + attention
        return batch * (self.outer_flops + self.blocks * block)

    def compulsory_bytes(self, variant: Variant, batch: int, precision: Precision) -> int:
        """Input and parameters read once, output written once."""
        activations = batch * (self.input_elements + self.output_elements)
        return ELEMENT_BYTES[precision] * (activations + self.parameters(variant))

    def memory_bytes(self, variant: Variant, batch: int, precision: Precision) -> int:
        """An upper estimate of the peak: parameters twice (laid out), and the widest part of a block."""
        widest = max(one.out_features for one in self.modules)
        rows = batch * self.rows
        scores = batch * self.heads * self.rows**2 if variant.implementation == PUBLISHED else 0
        activations = rows * (4 * self.width + 3 * widest) + 3 * scores
        outer = batch * (self.input_elements + self.output_elements)
        return ELEMENT_BYTES[precision] * (2 * self.parameters(variant) + activations + outer)

    def layers(
        self, batch: int, precision: Precision, layout: Layout = "batch_first"
    ) -> tuple[tuple[LinearModule, LayerShape], ...]:
        """The linear modules of a block as layers; each occurs once in each of `blocks`."""
        return tuple(
            (one, LayerShape(one.in_features, one.out_features, batch * self.rows, precision, layout))
            for one in self.modules
        )

    def _block_weights(self, variant: Variant) -> int:
        chains = variant.structure.chains
        return sum(
            sum(pattern.nonzeros for pattern in chains[one.name]) if one.name in chains else one.weights
            for one in self.modules
        )


def checked_structure(
    name: str, chains: Mapping[str, Chain], modules: tuple[LinearModule, ...]
) -> ModelStructure:
    """The structure, if every chain makes the shape of its module.

    Raises:
        UsageError: one does not, or there is no such module.
    """
    sides = {one.name: (one.in_features, one.out_features) for one in modules}
    for module, chain in chains.items():
        reason = (
            f"there is no module {module}" if module not in sides else chain_reason(chain, *sides[module])
        )
        if reason is not None:
            raise UsageError(f"structure {name}: {module}: {reason}")
    return ModelStructure(name, chains)


def chain_name(chain: Chain) -> str:
    """The patterns as in the name of a structure: `16,64,256,1;1,64,64,16`."""
    return ";".join(map(str, chain))

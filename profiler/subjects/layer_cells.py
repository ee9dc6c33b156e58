"""Cells of a layer: a structure of its weights by an implementation. Arithmetic only, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.db.records import STRUCTURED, cell_name
from kswatch.errors import UsageError
from kswatch.kernels.families.base import ChainFamily, LayerShape
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.pattern import Pattern
from kswatch.profiler.subjects.demand import Demand


@dataclass(frozen=True)
class LayerCell:
    """One way to compute a layer, in the place of an `Implementation` of a product."""

    structure: Structure
    implementation: str

    @classmethod
    def parse(cls, name: str) -> LayerCell:
        """The cell from its name, as in `low_rank 32/fused`.

        Raises:
            UsageError: there is no such family, or no implementation is named.
        """
        structure, _, implementation = name.rpartition(STRUCTURED)
        if not structure or not implementation:
            raise UsageError(f"{name!r} is not a layer's cell; name a structure, as in low_rank 32/fused")
        return cls(Structure.parse(structure), implementation)

    @property
    def name(self) -> str:
        """The name in the store."""
        return cell_name(str(self.structure), self.implementation)

    def reason(self, shape: LayerShape, device_kind: str) -> str | None:
        """Why a device of this kind cannot compute it, from the sizes alone; None where it may."""
        return self.structure.unsupported_reason(shape, self.implementation, device_kind)

    def demand(self, shape: LayerShape) -> Demand:
        """The structure's operations and bytes; none where the shape has no such structure."""
        if self.structure.family.size_reason(shape.in_features, shape.out_features, self.structure.size):
            return Demand(shape.precision, 0, 0, 0)
        output_bytes = shape.element_bytes * shape.batch * shape.out_features
        return Demand(
            shape.precision,
            self.structure.flops(shape),
            self.structure.compulsory_bytes(shape) - output_bytes,
            output_bytes,
            self.structure.parameters(shape.in_features, shape.out_features),
        )

    def flops(self, shape: LayerShape) -> int:
        """Operations that the structure needs."""
        return self.demand(shape).flops

    def memory_bytes(self, shape: LayerShape) -> int:
        """Approximate peak: input, output, activations between factors, the weights as given and laid out."""
        demand = self.demand(shape)
        widest = max((one.rows for one in self._chain(shape)), default=0)
        between = 2 * shape.element_bytes * shape.batch * widest
        return demand.compulsory_bytes + 2 * demand.parameter_bytes + between

    def _chain(self, shape: LayerShape) -> tuple[Pattern, ...]:
        family, sides = self.structure.family, (shape.in_features, shape.out_features)
        if not isinstance(family, ChainFamily) or family.size_reason(*sides, self.structure.size):
            return ()
        return family.chain(*sides, self.structure.size)

"""Cells of a model: a structure of its weights by an implementation. Arithmetic only, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from kswatch.db.records import cell_name
from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.errors import UsageError
from kswatch.kernels.models.base import Model, Variant
from kswatch.kernels.models.catalogue import find_model
from kswatch.profiler.subjects.demand import Demand
from kswatch.profiler.subjects.problems import ModelForward


@dataclass(frozen=True)
class ModelCell:
    """One variant of a model, in the place of an `Implementation` of a product."""

    model: Model
    variant: Variant

    @classmethod
    def parse(cls, forward: ModelForward, name: str) -> ModelCell:
        """The cell of this model with the name of a variant, as in `ks/fused`.

        Raises:
            UsageError: there is no such model or variant.
        """
        model = find_model(forward.model)
        if forward.tokens != model.rows:
            raise UsageError(f"{model.name} is measured with {model.rows} tokens, not {forward.tokens}")
        return cls(model, model.variant(name))

    @property
    def name(self) -> str:
        """The name in the store."""
        return cell_name(self.structure, self.variant.implementation)

    @property
    def structure(self) -> str:
        """The structure's name; equal structures have equal weights."""
        return self.variant.structure.name

    def by(self, implementation: str) -> ModelCell:
        """The same structure computed in another way."""
        return ModelCell(self.model, Variant(self.variant.structure, implementation))

    def reason(self, forward: ModelForward, device_kind: str) -> str | None:
        """Why a device of this kind cannot compute it, from the facets alone; None where it may."""
        if forward.precision not in SUITE_PRECISIONS:
            return f"models are measured in {', '.join(SUITE_PRECISIONS)}, not in {forward.precision}"
        if forward.layout != "batch_first":
            return "models are written for batch_first"
        if forward.execution == "graph" and device_kind != "cuda":
            return f"a CUDA graph needs an NVIDIA GPU, which a {device_kind} is not"
        return None

    def demand(self, forward: ModelForward) -> Demand:
        """Operations of all matrix products; input, parameters and output once each."""
        model, batch = self.model, forward.batch
        whole = model.compulsory_bytes(self.variant, batch, forward.precision)
        output_bytes = forward.element_bytes * batch * model.output_elements
        return Demand(
            forward.precision,
            model.flops(self.variant, batch),
            whole - output_bytes,
            output_bytes,
            model.parameters(self.variant),
        )

    def flops(self, forward: ModelForward) -> int:
        """Operations of all matrix products."""
        return self.model.flops(self.variant, forward.batch)

    def memory_bytes(self, forward: ModelForward) -> int:
        """An upper estimate of the peak."""
        return self.model.memory_bytes(self.variant, forward.batch, forward.precision)

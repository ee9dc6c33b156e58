"""A plan: for each linear layer of a model, dense against its best chain, and the sum end to end."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from math import fsum
from typing import Any

from kswatch.kernels.adoption.plan_table import plan_lines
from kswatch.kernels.heuristics.layer_costs import Chain, Cost

DENSE = "dense"


@dataclass(frozen=True)
class Alternative:
    """A alternative to compute a layer, with its costs over all calls of one forward pass."""

    patterns: Chain
    """The chain, right-most factor first; empty for dense."""
    algorithm: str | None
    """The algorithm of `KSLinear` that the costs are of; None for dense."""
    latency: Cost
    """In ms."""
    energy: Cost
    """In mJ."""
    parameters: int
    """Weights and bias, counted."""
    projection_error: float | None = None
    """Frobenius norm of what the chain loses of the weight, over the weight's; None without a weight."""
    svd_error: float | None = None
    """The same for a truncated singular value decomposition with at most as many weights."""

    @property
    def name(self) -> str:
        """`dense`, or the patterns as the command line takes them."""
        return " ".join(map(str, self.patterns)) or DENSE


@dataclass(frozen=True)
class LayerPlan:
    """One weight of the model: its layer dense, its best chain, and which of them the plan takes."""

    name: str
    shared_with: tuple[str, ...]
    """Other names of the module, and other modules with the same weight."""
    in_features: int
    out_features: int
    calls: tuple[int, ...]
    """Rows of the input of each call in one forward pass."""
    precision: str | None
    dense: Alternative
    chain: Alternative | None
    """The best chain; None where the layer must be left or has none."""
    is_replaced: bool
    reason: str | None
    """Why the layer stays dense."""

    @property
    def best(self) -> Alternative:
        """The alternative that the plan takes."""
        return self.chain if self.is_replaced and self.chain is not None else self.dense

    @property
    def batch(self) -> int | None:
        """Rows of the largest call; None where the layer is never called."""
        return max(self.calls, default=None)

    def to_plain(self) -> dict[str, Any]:
        """The line as values for JSON."""
        best, chain = self.best, self.chain
        return {
            "name": self.name,
            "in": self.in_features,
            "out": self.out_features,
            "batch": self.batch,
            "best": best.name,
            "latency_ms": best.latency.value,
            "parameters": best.parameters,
            "source": best.latency.source,
            "energy_mj": best.energy.value,
            "energy_source": best.energy.source,
            "algorithm": best.algorithm,
            "projection_error": best.projection_error,
            "svd_error": best.svd_error,
            "reason": self.reason,
            "shared_with": list(self.shared_with),
            "calls": list(self.calls),
            "precision": self.precision,
            "dense": _alternative_values(self.dense),
            "best_chain": None if chain is None else {"chain": chain.name, **_alternative_values(chain)},
        }


@dataclass(frozen=True)
class Total:
    """The sums over the lines; those of latency and energy over the lines that have data."""

    dense_latency_ms: float | None
    latency_ms: float | None
    dense_energy_mj: float | None
    energy_mj: float | None
    dense_parameters: int
    parameters: int
    without_latency: int
    """Lines without a latency, which its sums leave out."""
    without_energy: int
    dense_model_parameters: int
    """All parameters of the model as it is."""
    model_parameters: int
    """All parameters of the model with the plan."""


@dataclass(frozen=True)
class Plan:
    """What `kswatch.plan` returns and `kswatch.replace` takes."""

    device: str
    layers: tuple[LayerPlan, ...]
    dense_model_parameters: int
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Total:
        """The sums over the layers."""
        dense, best = [one.dense for one in self.layers], [one.best for one in self.layers]
        dense_count, count = sum(one.parameters for one in dense), sum(one.parameters for one in best)
        return Total(
            dense_latency_ms=_sum([one.latency for one in dense]),
            latency_ms=_sum([one.latency for one in best]),
            dense_energy_mj=_sum([one.energy for one in dense]),
            energy_mj=_sum([one.energy for one in best]),
            dense_parameters=dense_count,
            parameters=count,
            without_latency=sum(one.latency.value is None for one in best),
            without_energy=sum(one.energy.value is None for one in best),
            dense_model_parameters=self.dense_model_parameters,
            model_parameters=self.dense_model_parameters - dense_count + count,
        )

    def to_plain(self) -> dict[str, Any]:
        """The plan as values for JSON: layers, total, device, notes."""
        return {
            "layers": [layer.to_plain() for layer in self.layers],
            "total": vars(self.total),
            "device": self.device,
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """The plan as one JSON document; what is not known is null."""
        return json.dumps(self.to_plain(), indent=2, allow_nan=False, ensure_ascii=False)

    def table(self, width: int) -> str:
        """The plan as a table of so many columns."""
        return "\n".join(plan_lines(self.to_plain(), width))

    def __str__(self) -> str:
        """The table, as wide as the terminal."""
        return self.table(min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120))


def _alternative_values(alternative: Alternative) -> dict[str, Any]:
    return {
        "latency_ms": alternative.latency.value,
        "source": alternative.latency.source,
        "energy_mj": alternative.energy.value,
        "energy_source": alternative.energy.source,
        "parameters": alternative.parameters,
        "projection_error": alternative.projection_error,
        "svd_error": alternative.svd_error,
    }


def _sum(costs: list[Cost]) -> float | None:
    known = [cost.value for cost in costs if cost.value is not None]
    return fsum(known) if known else None

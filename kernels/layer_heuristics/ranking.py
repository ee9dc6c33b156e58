"""Families and implementations for one layer on one device, ranked: measured, predicted or no data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

from kswatch.kernels.families.base import ChainFamily, LayerShape
from kswatch.kernels.families.catalogue import Structure, families_without_structure, structures
from kswatch.kernels.families.stl import STOCK
from kswatch.kernels.heuristics.layer_costs import Cost, LayerCosts
from kswatch.kernels.heuristics.learned import FAR
from kswatch.kernels.layer_heuristics.parts import AUTO, LINEAR, parts_of
from kswatch.kernels.layer_heuristics.rates import LayerCell, MeasuredCell, PartRates, fit_rates

DENSE = Structure("dense")
LEAST_SHAPES = 4
"""Fewest layers of other sizes or batches from which one is predicted: fewer give rates of one size."""
RANKED = (LINEAR, "fused", "bmm", AUTO, STOCK, "semi_structured")
"""Implementations that are ranked for each structure; further measured ones are ranked as well."""
NOTE = (
    "families are different matrices: compare their costs at equal shape, and accuracy after training or "
    "projection"
)


@dataclass(frozen=True)
class RankedCell:
    """One way to compute the layer; None is unknown, savings are positive where it costs less than dense."""

    structure: str
    family: str
    implementation: str
    parameters: int
    share: float
    """Of the dense layer's parameters."""
    gflops: float
    latency_ms: float | None
    latency_source: str
    """`measured`, `predicted` or `no data`."""
    saved_ms: float | None
    energy_mj: float | None
    energy_source: str
    saved_mj: float | None
    reason: str | None
    """Why it cannot be computed."""


@dataclass(frozen=True)
class LayerRanking:
    """The ways to compute a layer, the fastest first; those without a latency last."""

    layer: str
    in_features: int
    out_features: int
    batch: int
    precision: str
    layout: str
    device: str
    dense_latency_ms: float | None
    dense_energy_mj: float | None
    cells: tuple[RankedCell, ...]
    left_out: Mapping[str, str]
    """The reason by family, of those that have no layer of this shape."""
    notes: tuple[str, ...]


class CellCosts:
    """The costs of a layer's cells on one device: measured there, or predicted from what was measured.

    A cell that was not measured is predicted from layers of the same device, precision and layout, where
    there are enough of them, else from single products; never far outside the measured sizes.

    Args:
        shape: the layer.
        factor_costs: of single products on the device, in the layer's layout.
        measured: the device's layers by metric.
    """

    def __init__(
        self,
        shape: LayerShape,
        factor_costs: LayerCosts,
        measured: Mapping[str, Sequence[MeasuredCell]],
    ) -> None:
        self._shape, self._factor_costs = shape, factor_costs
        self._like = {metric: _like(shape, found) for metric, found in measured.items()}
        self._rates: dict[str, PartRates] = {}

    def measured_names(self) -> set[str]:
        """The names of this layer's measured cells."""
        return {
            str(one.cell) for found in self._like.values() for one in found if one.cell.shape == self._shape
        }

    def cost(self, structure: Structure, implementation: str, metric: str) -> Cost:
        """The cost of one cell."""
        cell = LayerCell(self._shape, structure, implementation)
        found = [one.cost for one in self._like.get(metric, ()) if one.cell == cell]
        if found:
            return Cost(found[-1], "measured")
        value = self._by_layers(cell, metric)
        return Cost(value, "predicted") if value is not None else self._by_products(cell, metric)

    def _by_layers(self, cell: LayerCell, metric: str) -> float | None:
        like = self._like.get(metric, ())
        shapes = {one.cell.shape for one in like}
        if len(shapes) < LEAST_SHAPES or _excess(self._shape, shapes) > FAR:
            return None
        if metric not in self._rates:
            self._rates[metric] = fit_rates(like, self._factor_costs.facts)
        parts = parts_of(cell.structure, self._shape, cell.implementation, self._factor_costs.facts)
        return self._rates[metric].predict(parts)

    def _by_products(self, cell: LayerCell, metric: str) -> Cost:
        shape, found = self._shape, cell.structure.family
        kind = shape.batch, shape.precision, metric
        if cell.structure == DENSE:
            return _as_predicted(self._factor_costs.dense(shape.in_features, shape.out_features, *kind))
        if not isinstance(found, ChainFamily):
            return Cost()
        chain = found.chain(shape.in_features, shape.out_features, cell.structure.size)
        return _as_predicted(self._factor_costs.chain(chain, *kind, cell.implementation).cost)


def rank_layer(
    shape: LayerShape,
    device: str,
    factor_costs: LayerCosts,
    measured: Mapping[str, Sequence[MeasuredCell]],
    extra: Iterable[Structure] = (),
) -> LayerRanking:
    """Every family at every share of the dense parameters, further structures, and measured ones.

    Args:
        shape: the layer.
        device: its name.
        factor_costs: of single products on the device, in the layer's layout.
        measured: the device's layers by metric, `latency` and `energy`; the newest of a cell last.
        extra: further structures of this shape.
    """
    costs = CellCosts(shape, factor_costs, measured)
    known = [LayerCell.parse(shape, name) for name in sorted(costs.measured_names())]
    wanted = [*structures(shape.in_features, shape.out_features), *extra, *(one.structure for one in known)]
    cells = [
        LayerCell(shape, structure, implementation)
        for structure in wanted
        for implementation in RANKED
        if implementation in structure.family.implementations
    ]
    dense = {metric: costs.cost(DENSE, LINEAR, metric) for metric in ("latency", "energy")}
    kind = str(factor_costs.facts.get("kind") or "cuda")
    ranked = [_ranked(cell, costs, dense, kind) for cell in dict.fromkeys([*cells, *known])]
    return LayerRanking(
        layer=str(shape),
        in_features=shape.in_features,
        out_features=shape.out_features,
        batch=shape.batch,
        precision=shape.precision,
        layout=shape.layout,
        device=device,
        dense_latency_ms=dense["latency"].value,
        dense_energy_mj=dense["energy"].value,
        cells=tuple(sorted(ranked, key=_order)),
        left_out=families_without_structure(shape.in_features, shape.out_features),
        notes=(NOTE, *factor_costs.remarks()),
    )


def _ranked(cell: LayerCell, costs: CellCosts, dense: Mapping[str, Cost], device_kind: str) -> RankedCell:
    shape, structure = cell.shape, cell.structure
    reason = structure.unsupported_reason(shape, cell.implementation, device_kind)
    latency, energy = (
        Cost() if reason else costs.cost(structure, cell.implementation, metric) for metric in dense
    )
    parameters = structure.parameters(shape.in_features, shape.out_features)
    return RankedCell(
        structure=str(structure),
        family=structure.family_name,
        implementation=cell.implementation,
        parameters=parameters,
        share=parameters / shape.dense_parameters,
        gflops=structure.flops(shape) / 1e9,
        latency_ms=latency.value,
        latency_source=latency.source,
        saved_ms=_saved(dense["latency"], latency),
        energy_mj=energy.value,
        energy_source=energy.source,
        saved_mj=_saved(dense["energy"], energy),
        reason=reason,
    )


def _saved(dense: Cost, cost: Cost) -> float | None:
    return None if dense.value is None or cost.value is None else dense.value - cost.value


def _as_predicted(cost: Cost) -> Cost:
    """A sum over products is a prediction of the layer, even where each of them was measured."""
    return Cost() if cost.value is None else Cost(cost.value, "predicted")


def _order(one: RankedCell) -> tuple[bool, bool, float, int, str]:
    return (
        one.reason is not None,
        one.latency_ms is None,
        one.latency_ms or 0.0,
        one.parameters,
        f"{one.structure}/{one.implementation}",
    )


def _like(shape: LayerShape, measured: Iterable[MeasuredCell]) -> list[MeasuredCell]:
    kind = shape.precision, shape.layout
    return [one for one in measured if (one.cell.shape.precision, one.cell.shape.layout) == kind]


def _excess(shape: LayerShape, known: Iterable[LayerShape]) -> float:
    """Doublings by which inputs, outputs and batch exceed the measured ranges, summed."""
    total, known = 0.0, list(known)
    for name in ("in_features", "out_features", "batch"):
        value, values = log2(getattr(shape, name)), [log2(getattr(one, name)) for one in known]
        total += max(0.0, min(values) - value, value - max(values))
    return total

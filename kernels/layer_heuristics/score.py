"""How well predicted costs of layers agree with measured ones, held out by shape."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.layer_heuristics.parts import parts_of
from kswatch.kernels.layer_heuristics.rates import LayerCell, MeasuredCell, fit_rates

DENSE = "dense"


@dataclass(frozen=True)
class PredictedCell:
    """A measured cell with the cost that was predicted without its shape; None without data."""

    cell: LayerCell
    cost: float
    predicted: float | None


@dataclass(frozen=True)
class LayerScore:
    """The agreement over the cells of one precision and layout."""

    layers: int
    """Shapes at one batch, each with all its cells."""
    cells: int
    unpredicted: int
    median_errors: dict[str, float]
    """Median of |predicted / measured - 1| by family and implementation."""
    accuracy: float | None
    """Share of the layers whose fastest cell was predicted."""
    majority: float | None
    """The same for always naming the family and implementation that is fastest most often."""
    regret: float | None
    """Mean cost of the predicted fastest cell over that of the fastest, minus 1."""
    majority_regret: float | None
    """The same for always naming `dense`."""
    gain_accuracy: float | None
    """Share of the structured cells for which it was predicted whether they are faster than dense."""
    gain_balanced: float | None
    """The mean of that share among the faster and among the slower ones."""


def held_out_by_shape(measured: Sequence[MeasuredCell], facts: DeviceFacts) -> list[PredictedCell]:
    """Each cell with a prediction by rates that were fitted without any layer of its inputs and outputs.

    Args:
        measured: cells of one device, precision, layout and metric.
        facts: of the device.
    """
    by_sides: dict[tuple[int, int], list[MeasuredCell]] = defaultdict(list)
    for one in measured:
        by_sides[one.cell.shape.in_features, one.cell.shape.out_features].append(one)
    found = []
    for sides, group in sorted(by_sides.items()):
        others = [one for key, rest in by_sides.items() if key != sides for one in rest]
        rates = fit_rates(others, facts)
        for one in group:
            parts = parts_of(one.cell.structure, one.cell.shape, one.cell.implementation, facts)
            found.append(PredictedCell(one.cell, one.cost, rates.predict(parts)))
    return found


def score_layers(predicted: Sequence[PredictedCell]) -> LayerScore:
    """The scores of predictions; layers with fewer than two predicted cells are not compared."""
    known = [one for one in predicted if one.predicted is not None]
    layers = _by_layer(known)
    compared = [group for group in layers if len(group) > 1]
    pairs = [(min(group, key=_predicted), min(group, key=_cost)) for group in compared]
    usual = statistics.mode(_kind(best) for _, best in pairs) if pairs else None
    return LayerScore(
        layers=len(_by_layer(predicted)),
        cells=len(predicted),
        unpredicted=len(predicted) - len(known),
        median_errors=_median_errors(known),
        accuracy=_mean(chosen.cell == best.cell for chosen, best in pairs),
        majority=_mean(_kind(best) == usual for _, best in pairs),
        regret=_mean(chosen.cost / best.cost - 1 for chosen, best in pairs),
        majority_regret=_mean(
            dense.cost / min(group, key=_cost).cost - 1
            for group in compared
            for dense in group
            if dense.cell.structure.family_name == DENSE
        ),
        **_gain_scores(compared),
    )


def _gain_scores(layers: Iterable[Sequence[PredictedCell]]) -> dict[str, float | None]:
    right: dict[bool, list[bool]] = {True: [], False: []}
    for group in layers:
        dense = next((one for one in group if one.cell.structure.family_name == DENSE), None)
        for one in group:
            if dense is not None and one is not dense:
                is_faster = one.cost < dense.cost
                right[is_faster].append((_predicted(one) < _predicted(dense)) == is_faster)
    shares = [_mean(found) for found in right.values()]
    balanced = None if None in shares else _mean(share for share in shares if share is not None)
    return {"gain_accuracy": _mean([*right[True], *right[False]]), "gain_balanced": balanced}


def _median_errors(known: Iterable[PredictedCell]) -> dict[str, float]:
    errors: dict[str, list[float]] = defaultdict(list)
    for one in known:
        errors[_kind(one)].append(abs(_predicted(one) / one.cost - 1))
    return {kind: statistics.median(found) for kind, found in sorted(errors.items())}


def _by_layer(cells: Iterable[PredictedCell]) -> list[list[PredictedCell]]:
    groups: dict[object, list[PredictedCell]] = defaultdict(list)
    for one in cells:
        groups[one.cell.shape].append(one)
    return list(groups.values())


def _kind(one: PredictedCell) -> str:
    return f"{one.cell.structure.family_name}/{one.cell.implementation}"


def _cost(one: PredictedCell) -> float:
    return one.cost


def _predicted(one: PredictedCell) -> float:
    assert one.predicted is not None
    return one.predicted


def _mean(values: Iterable[float | bool]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None

"""Predicted costs of layers against the store's measured ones, held out by shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kswatch.ci.advisor.from_store import find_target_device
from kswatch.ci.advisor.layer_advice import measured_layers
from kswatch.ci.advisor.scoring import format_percent, format_share
from kswatch.db.store import Store
from kswatch.errors import UsageError
from kswatch.kernels.layer_heuristics.rates import MeasuredCell
from kswatch.kernels.layer_heuristics.score import LayerScore, held_out_by_shape, score_layers


@dataclass(frozen=True)
class LayerScores:
    """The score of one precision and layout on a device."""

    device: str
    metric: str
    precision: str
    layout: str
    score: LayerScore


def layer_scores(store: Store, device: str | None, metric: str) -> list[LayerScores]:
    """The scores for each precision and layout in which layers were measured.

    Raises:
        UsageError: no or several such devices, or no layer was measured on it.
    """
    target = find_target_device(store, device)
    groups: dict[tuple[str, str], list[MeasuredCell]] = {}
    for one in measured_layers(store, target).get(metric, ()):
        groups.setdefault((one.cell.shape.precision, one.cell.shape.layout), []).append(one)
    if not groups:
        raise UsageError(
            f"no {metric} of a layer was measured on {target.name}; run `kswatch profile layers`"
        )
    return [
        LayerScores(target.name, metric, *kind, score_layers(held_out_by_shape(cells, target.facts)))
        for kind, cells in sorted(groups.items())
    ]


def scores_text(found: Sequence[LayerScores]) -> str:
    """The scores as text."""
    lines = []
    for one in found:
        score = one.score
        lines += [
            f"{one.device}, {one.metric}, {one.precision} {one.layout}: {score.layers} layers, {score.cells} "
            f"cells, {score.unpredicted} without a prediction",
            f"  fastest cell predicted {format_share(score.accuracy)} (most frequent kind alone "
            f"{format_share(score.majority)}), regret {format_percent(score.regret)}",
            f"  faster than dense or not {format_share(score.gain_accuracy)}, balanced "
            f"{format_share(score.gain_balanced)}",
            *(f"  {kind:20} median error {error:.1%}" for kind, error in score.median_errors.items()),
        ]
    return "\n".join(lines)

"""Advice for a layer: families and implementations ranked, from the store and the heuristics."""

from __future__ import annotations

from collections.abc import Sequence

from kswatch.ci.advisor.from_store import TargetDevice, find_target_device, measured_on
from kswatch.db.queries.structures.cells import layer_cells, runs_of_layers
from kswatch.db.records import COMPARABLE
from kswatch.db.store import Store
from kswatch.db.writes.speedup import COMPARED_METRICS
from kswatch.errors import UsageError
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.heuristics.layer_costs import LayerCosts
from kswatch.kernels.layer_heuristics import stored
from kswatch.kernels.layer_heuristics.ranking import LayerRanking, RankedCell, rank_layer
from kswatch.kernels.layer_heuristics.rates import MeasuredCell
from kswatch.kernels.problem import Layout, Precision

ROWS_SHOWN = 20


def parse_sides(text: str) -> tuple[int, int]:
    """Inputs and outputs from `IN,OUT`.

    Raises:
        UsageError: the text is not two integers >= 1.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(part.isdecimal() and int(part) >= 1 for part in parts):
        raise UsageError(
            f"layer {text!r} is not of the form IN,OUT; write two integers >= 1, as in 1024,4096"
        )
    return int(parts[0]), int(parts[1])


def advise_layer(
    store: Store | None,
    sides: tuple[int, int],
    batch: int,
    precision: Precision,
    layout: Layout,
    device: str | None,
    extra: Sequence[str] = (),
) -> LayerRanking:
    """Families and implementations for a layer on a device, measured or not.

    Args:
        store: for the device's facts and measurements; None where there is none.
        sides: inputs and outputs.
        batch: rows of X.
        precision: storage and arithmetic.
        layout: of X.
        device: UUID, unique prefix, model name or cpu; may be None where the store holds one device.
        extra: further structures to rank, as `low_rank 100`.

    Raises:
        UsageError: as `advise`; or the batch is 0, or a further structure has no layer of this shape.
        ConfigurationError: the model file in use cannot be read.
    """
    target = find_target_device(store, device)
    shape = LayerShape(*sides, batch, precision, layout)
    factor_costs = LayerCosts(target.facts, measured_on(store, target, layout), layout)
    structures = [_structure(text, shape) for text in extra]
    return rank_layer(shape, target.name, factor_costs, measured_layers(store, target), structures)


def measured_layers(store: Store | None, target: TargetDevice) -> dict[str, list[MeasuredCell]]:
    """The layers that were measured on a stored device by metric, the oldest first; none for others.

    Simulated devices have measurements of their own; imported ones none.
    """
    if store is None or target.row is None:
        return {}
    runs = [one.id for one in runs_of_layers(store) if one.device_id == target.row.id]
    return stored.measured_layers(layer_cells(store, runs), COMPARED_METRICS, COMPARABLE)


def _structure(text: str, shape: LayerShape) -> Structure:
    structure = Structure.parse(text)
    reason = structure.family.size_reason(shape.in_features, shape.out_features, structure.size)
    if reason is not None:
        raise UsageError(f"structure {text!r}: {reason}")
    return structure


def layer_text(ranking: LayerRanking) -> str:
    """The dense layer, then the fastest implementation of each structure, then families without one."""
    lines = [f"{ranking.layer} on {ranking.device}"]
    lines.append(
        f"{'structure':34} {'by':16} {'parameters':>10} {'ms':>9} {'saved ms':>9} {'mJ':>9} {'saved mJ':>9}"
        "  latency"
    )
    shown: set[str] = set()
    for one in ranking.cells:
        if one.structure not in shown and len(shown) < ROWS_SHOWN and one.reason is None:
            shown.add(one.structure)
            lines.append(_line(one))
    rest = {one.structure for one in ranking.cells if one.reason is None} - shown
    if rest:
        lines.append(f"and {len(rest)} slower structures or without data: --json has all of them")
    reasons = {one.family: one.reason for one in ranking.cells if one.reason is not None}
    lines += [f"{family}: {reason}" for family, reason in {**reasons, **ranking.left_out}.items()]
    return "\n".join([*lines, *(f"note: {note}" for note in ranking.notes)])


def _line(one: RankedCell) -> str:
    numbers = " ".join(
        f"{'-' if value is None else f'{value:.4g}':>9}"
        for value in (one.latency_ms, one.saved_ms, one.energy_mj, one.saved_mj)
    )
    return f"{one.structure:34} {one.implementation:16} {one.share:>10.1%} {numbers}  {one.latency_source}"

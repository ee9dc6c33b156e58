"""The ranking of families for a layer on a device: measured in this store, or predicted from it."""

from __future__ import annotations

from dataclasses import asdict

from kswatch.dashboard.data import queries as cached_queries
from kswatch.dashboard.data.store import reading_store
from kswatch.db.queries.basic import DeviceRow
from kswatch.db.queries.headline import outcomes
from kswatch.db.records import COMPARABLE
from kswatch.db.writes.speedup import COMPARED_METRICS
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.layer_costs import LayerCosts
from kswatch.kernels.heuristics.measured import MeasuredProblem
from kswatch.kernels.layer_heuristics.ranking import LayerRanking, rank_layer
from kswatch.kernels.layer_heuristics.rates import LayerCell, MeasuredCell
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

FACTS = ("model", "kind", "architecture", "memory_bytes", "cache_bytes", "multiprocessors")


def layer_ranking(shape: LayerShape, device: DeviceRow, name: str) -> LayerRanking:
    """Every family for a layer on a stored device; `ci`'s command ranks by the same functions."""
    factors = {metric: _measured_products(device, metric, shape.layout) for metric in COMPARED_METRICS}
    return rank_layer(
        shape, name, LayerCosts(_facts(device), factors, shape.layout), _measured_layers(device)
    )


def _facts(device: DeviceRow) -> DeviceFacts:
    values = asdict(device)
    origin = "imported" if device.uuid.startswith("imported:") else "measured"
    return {**device.facts, **{name: values[name] for name in FACTS}, "origin": origin}


def _measured_products(device: DeviceRow, metric: str, layout: str) -> list[MeasuredProblem]:
    column, found = COMPARED_METRICS[metric], []
    for one in outcomes(reading_store(), device.uuid, metric=metric, layout=layout).problems:
        key = one.problem
        problem = Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)  # type: ignore[arg-type]
        costs = {
            implementation: getattr(row, column)
            for implementation, row in one.measured.items()
            if row.status in COMPARABLE and getattr(row, column) is not None
        }
        found.append(MeasuredProblem(problem, costs, one.outcome.speedup))
    return found


def _measured_layers(device: DeviceRow) -> dict[str, list[MeasuredCell]]:
    """By metric; of each cell the newest."""
    runs = tuple(run.id for run in cached_queries.runs_of_layers() if run.device_id == device.id)
    cells = cached_queries.layer_cells(runs)
    cells = cells[cells["status"].isin(COMPARABLE)]
    found: dict[str, list[MeasuredCell]] = {}
    for metric, column in COMPARED_METRICS.items():
        newest: dict[LayerCell, float] = {}
        for row in cells.dropna(subset=[column]).itertuples():
            shape = LayerShape(int(row.c), int(row.b), int(row.batch), row.precision, row.layout)
            newest[LayerCell.parse(shape, row.implementation)] = getattr(row, column)
        found[metric] = [MeasuredCell(cell, cost) for cell, cost in newest.items()]
    return found

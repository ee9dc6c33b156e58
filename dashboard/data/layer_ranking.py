"""The ranking of families for a layer on a device: measured in this store, or predicted from it."""

from __future__ import annotations

from kswatch.dashboard.data.store import reading_store
from kswatch.db.queries.basic import DeviceRow
from kswatch.db.queries.headline import outcomes
from kswatch.db.queries.structures.cells import layer_cells, runs_of_layers
from kswatch.db.records import COMPARABLE
from kswatch.db.writes.speedup import COMPARED_METRICS
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.heuristics.layer_costs import LayerCosts
from kswatch.kernels.layer_heuristics.ranking import LayerRanking, rank_layer
from kswatch.kernels.layer_heuristics.stored import device_facts, measured_layers, measured_problems


def layer_ranking(shape: LayerShape, device: DeviceRow, name: str) -> LayerRanking:
    """Every family for a layer on a stored device, as `kswatch advise --layer` ranks them."""
    store = reading_store()
    products = {
        metric: measured_problems(
            outcomes(store, device.uuid, metric=metric, layout=shape.layout).problems, column, COMPARABLE
        )
        for metric, column in COMPARED_METRICS.items()
    }
    runs = [run.id for run in runs_of_layers(store) if run.device_id == device.id]
    layers = measured_layers(layer_cells(store, runs), COMPARED_METRICS, COMPARABLE)
    return rank_layer(shape, name, LayerCosts(device_facts(device), products, shape.layout), layers)

"""The estimated size and duration of a request: one number for the form, the queue and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kswatch.db.request_queue.measuring_cost import measuring_cost
from kswatch.db.request_queue.requested_cells import requested_cells
from kswatch.db.store import Store
from kswatch.services import TimingLimits


class RequestEstimate(NamedTuple):
    """What a request will take."""

    cells: int | None
    """None where only the profiler knows them."""
    seconds: float | None
    """None where the device has no finished run, or the cells are unknown."""
    refused: int = 0
    """Cells that are expected to be too slow or to need too much memory, and are recorded without a time."""


def estimate(
    store: Store,
    suite: str,
    device: str,
    arguments: Mapping[str, Any],
    limits: TimingLimits,
    cells: int | None = None,
) -> RequestEstimate:
    """The estimate of a run of a suite with these arguments on a device.

    Args:
        store: whose runs it is made from.
        suite: its name, or `ad_hoc`.
        device: cpu, a UUID or a model name.
        arguments: of the request, as it stores them.
        limits: of timing on the machine that measures.
        cells: their number, where the caller has planned them.
    """
    held = requested_cells(store, suite, device, arguments)
    known = sum(map(len, held.values())) if held is not None else None
    cells = known if cells is None else cells
    cost = measuring_cost(store, device, limits)
    if cost is None or cells is None:
        return RequestEstimate(cells, None)
    if not held or not known:
        return RequestEstimate(cells, cells * cost.mean_s)
    costs = [cost.of_problem(problem, names) for problem, names in held.items()]
    seconds = sum(one.seconds for one in costs) * cells / known
    return RequestEstimate(cells, seconds, sum(one.refused for one in costs))

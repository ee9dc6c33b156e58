"""The paper's measurement protocol, for comparison with its published numbers; its results are labelled.

Gonon et al. (ICML 2025) time with torch's `blocked_autorange` over 0.25 s: hot, without warm-up, one
method after the other; one sample where a product takes over 25 ms. Energy follows pyJoules: the number
of products is doubled until ten readings spread by less than a tenth, idle gaps between them included.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from kswatch.profiler.backends.base import Backend
from kswatch.profiler.measurement.cell import CellMeasurement
from kswatch.profiler.measurement.interleaving import active, confine_failure
from kswatch.profiler.probes.energy import EnergySource
from kswatch.profiler.probes.timing import Launchable, Visit

LABEL = "paper_protocol"
MIN_RUN_MS = 250.0
SINGLE_MS = 25.0
READINGS = 10
SPREAD = 0.1
LONGEST_READING_S = 5.0


def time_by_paper_protocol(cells: Sequence[CellMeasurement], backend: Backend) -> None:
    """Time the cells one after the other, each in one visit."""
    for cell in active(cells):
        with confine_failure(cell, backend), backend.busy():
            cell.add_visit(autorange(cell.launchable, backend), 0, MIN_RUN_MS)
            cell.flag(LABEL)
            cell.finish("ok")


def autorange(launchable: Launchable, backend: Backend) -> Visit:
    """Samples by the algorithm of `torch.utils.benchmark.Timer.blocked_autorange`."""
    launches, block_ms = 1, backend.timer.block_ms(launchable, 1)
    if block_ms > SINGLE_MS:
        return Visit((block_ms,))
    while block_ms < MIN_RUN_MS / 1000:
        launches *= 10
        block_ms = backend.timer.block_ms(launchable, launches)
    samples_ms: list[float] = []
    while launches * sum(samples_ms) < MIN_RUN_MS:
        samples_ms.append(backend.timer.block_ms(launchable, launches) / launches)
    return Visit(tuple(samples_ms), launches_per_sample=launches)


def energy_by_paper_protocol(
    cell: CellMeasurement, backend: Backend, source: EnergySource
) -> dict[str, object]:
    """Energy fields of a record: differences of the counter around ever longer series of products."""
    launches = 1
    while True:
        begin_s = backend.now_s()
        per_product_mj = []
        for _ in range(READINGS):
            before_mj = source.read_mj()
            backend.timer.block_ms(cell.launchable, launches)
            per_product_mj.append((source.read_mj() - before_mj) / launches)
        per_product_mj.sort()
        reading_s = (backend.now_s() - begin_s) / READINGS
        median_mj = statistics.median(per_product_mj)
        low_mj, _, high_mj = statistics.quantiles(per_product_mj, n=4)
        if median_mj > 0 and high_mj - low_mj < SPREAD * median_mj:
            return {
                "energy_mj": median_mj,
                "energy_low_mj": per_product_mj[0],
                "energy_high_mj": per_product_mj[-1],
                "energy_source": source.name,
                "energy_scope": source.scope,
                "energy_products": launches * READINGS,
            }
        if reading_s > LONGEST_READING_S:
            return {"energy_reason": f"ten readings of {launches} products still spread by more than 10 %"}
        launches *= 2

"""The paper's own way of measuring, for comparison with its published numbers; labelled wherever it shows.

Gonon et al. (ICML 2025) time with torch's `blocked_autorange` over 0.25 s: hot, unwarmed, one method
after the other; one sample where a product takes over 25 ms. Energy is pyJoules': the number of
products is doubled until ten readings spread by less than a tenth, idle gaps between them included.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from kswatch.profiler.backends.base import Bench
from kswatch.profiler.measurement.cell import Contender
from kswatch.profiler.measurement.interleaving import racing, turn_of
from kswatch.profiler.probes.timing import Visit, Work

LABEL = "paper_protocol"
MIN_RUN_MS = 250.0
SINGLE_MS = 25.0
READINGS = 10
SPREAD = 0.1
LONGEST_READING_S = 5.0


def race_as_the_paper(contenders: Sequence[Contender], bench: Bench) -> None:
    """Time each contender in one go, one after the other."""
    for contender in racing(contenders):
        with turn_of(contender, bench), bench.busy():
            contender.takes(autorange(contender.work, bench), 0, MIN_RUN_MS)
            contender.flag(LABEL)
            contender.ends("ok")


def autorange(work: Work, bench: Bench) -> Visit:
    """Samples as `torch.utils.benchmark.Timer.blocked_autorange` takes them."""
    launches, block_ms = 1, bench.timer.block_ms(work, 1)
    if block_ms > SINGLE_MS:
        return Visit((block_ms,))
    while block_ms < MIN_RUN_MS / 1000:
        launches *= 10
        block_ms = bench.timer.block_ms(work, launches)
    samples_ms: list[float] = []
    while launches * sum(samples_ms) < MIN_RUN_MS:
        samples_ms.append(bench.timer.block_ms(work, launches) / launches)
    return Visit(tuple(samples_ms), launches_per_sample=launches)


def energy_as_the_paper(contender: Contender, bench: Bench) -> dict[str, object]:
    """Energy fields of a record: differences of the counter around ever longer rows of products."""
    meter = bench.energy_meter
    if meter is None:
        return {"energy_reason": bench.energy_refusal}
    launches = 1
    while True:
        begin_s = bench.now_s()
        per_product_mj = sorted(_one_reading_mj(contender.work, launches, bench) for _ in range(READINGS))
        reading_s = (bench.now_s() - begin_s) / READINGS
        median_mj = statistics.median(per_product_mj)
        low_mj, _, high_mj = statistics.quantiles(per_product_mj, n=4)
        if median_mj > 0 and high_mj - low_mj < SPREAD * median_mj:
            return {
                "energy_mj": median_mj,
                "energy_low_mj": per_product_mj[0],
                "energy_high_mj": per_product_mj[-1],
                "energy_source": meter.source.name,
                "energy_scope": meter.source.scope,
                "energy_products": launches * READINGS,
            }
        if reading_s > LONGEST_READING_S:
            return {"energy_reason": f"ten readings of {launches} products still spread by more than a tenth"}
        launches *= 2


def _one_reading_mj(work: Work, launches: int, bench: Bench) -> float:
    assert bench.energy_meter is not None
    source = bench.energy_meter.source
    before_mj = source.read_mj()
    bench.timer.block_ms(work, launches)
    return (source.read_mj() - before_mj) / launches

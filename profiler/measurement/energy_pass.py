"""The energy pass of a problem: apart from timing, for `fused` and the fastest baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from kswatch.db.records import COMPARABLE
from kswatch.errors import MeasurementError
from kswatch.profiler.backends.base import Bench
from kswatch.profiler.measurement.cell import REFERENCE, Contender
from kswatch.profiler.measurement.paper_protocol import energy_as_the_paper
from kswatch.profiler.settings import MeasureSettings


def measure_energy(contenders: Sequence[Contender], bench: Bench, settings: MeasureSettings) -> None:
    """Give the two cells their energy, or the reason why it is not known; their time stands either way."""
    for contender in _chosen(contenders):
        meter = bench.energy_meter
        if meter is None:
            contender.energy = {"energy_reason": bench.energy_refusal}
            continue
        contender.announce()
        if settings.protocol == "paper":
            with bench.busy():
                contender.energy = energy_as_the_paper(contender, bench)
            continue
        try:
            with bench.busy():
                found = asdict(meter.measure(bench.load(contender.work, contender.estimate_ms), settings))
        except Exception as error:  # a graph that cannot be captured must not cost the cell its time
            told = str(error) if isinstance(error, MeasurementError) else f"{type(error).__name__}: {error}"
            contender.energy = {"energy_reason": told[:500]}
        else:
            contender.flag(*found.pop("flags"))
            contender.energy = found


def _chosen(contenders: Sequence[Contender]) -> list[Contender]:
    timed = [each for each in contenders if each.status in COMPARABLE]
    fused = [each for each in timed if each.name == REFERENCE]
    baselines = sorted((each for each in timed if each.name != REFERENCE), key=lambda each: each.estimate_ms)
    return fused + baselines[:1]

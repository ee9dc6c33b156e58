"""The energy pass of a problem, separate from timing: `fused` and the fastest baseline of each set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from kswatch.db.records import COMPARABLE, RIVALS, is_foreign
from kswatch.errors import MeasurementError
from kswatch.profiler.backends.base import Backend
from kswatch.profiler.measurement.cell import REASON_LENGTH, CellMeasurement
from kswatch.profiler.measurement.paper_protocol import energy_by_paper_protocol
from kswatch.profiler.settings import MeasureSettings


def measure_energy(cells: Sequence[CellMeasurement], backend: Backend, settings: MeasureSettings) -> None:
    """Set the energy fields of `fused` and the fastest baselines, or the reason why energy is unknown."""
    for cell in _chosen(cells):
        meter = backend.energy_meter
        if meter is None:
            cell.energy = {"energy_reason": backend.energy_refusal}
            continue
        cell.announce()
        if settings.protocol == "paper":
            with backend.busy():
                cell.energy = energy_by_paper_protocol(cell, backend, meter.source)
            continue
        try:
            with backend.busy():
                found = asdict(
                    meter.measure(backend.sustained_load(cell.launchable, cell.estimate_ms), settings)
                )
        except Exception as error:  # a graph that cannot be captured must not cost the cell its time
            reason = str(error) if isinstance(error, MeasurementError) else f"{type(error).__name__}: {error}"
            cell.energy = {"energy_reason": reason[:REASON_LENGTH]}
        else:
            cell.flag(*found.pop("flags"))
            cell.energy = found


def _chosen(cells: Sequence[CellMeasurement]) -> list[CellMeasurement]:
    """The fastest that is computed by `fused`, the fastest other one, that of no rival, and the reference."""
    timed = sorted((cell for cell in cells if cell.status in COMPARABLE), key=lambda cell: cell.estimate_ms)
    fused = [cell for cell in timed if cell.is_fused][:1]
    baselines = [cell for cell in timed if not cell.is_fused and not is_foreign(cell.name)]
    others = baselines[:1]
    if others and others[0].name in RIVALS:  # the series against stock torch need one of theirs
        others += [cell for cell in baselines if cell.name not in RIVALS][:1]
    reference = [cell for cell in timed if cell.is_reference and cell not in fused + others]
    return fused + others + reference

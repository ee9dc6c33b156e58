"""Fitting of heuristics to the store's measurements, for `kswatch heuristics fit`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from kswatch.ci.advisor.from_store import device_facts, measured_problems
from kswatch.db.queries.basic import devices, find_device
from kswatch.db.queries.headline import outcomes
from kswatch.db.store import Store
from kswatch.errors import UsageError
from kswatch.kernels.heuristics.device_distance import balance_facts
from kswatch.kernels.heuristics.learned import METRICS
from kswatch.kernels.heuristics.model_file import merge_sections, model_path, read_sections, write_sections
from kswatch.kernels.heuristics.training import fit_sections


@dataclass(frozen=True)
class FittedSection:
    """The fit for one device, metric, precision and layout."""

    device: str
    metric: str
    precision: str
    layout: str
    problems: int
    implementations: tuple[str, ...]


@dataclass(frozen=True)
class Fitted:
    """The result of a fit."""

    path: Path
    size_bytes: int
    sections: tuple[FittedSection, ...]


def fit_devices(store: Store, specs: Sequence[str] | None, output: Path | None) -> Fitted:
    """Fit every device, or the named ones, in each metric, and write the model file.

    Sections of other devices that the file holds are kept.

    Raises:
        UsageError: an unknown device, too little measured, no scikit-learn, or an unwritable file.
        ConfigurationError: the file exists and is corrupt or of another version.
    """
    chosen = [find_device(store, spec) for spec in specs or ()] or [
        device for device in devices(store) if not device.simulated
    ]
    sections = []
    for device, metric in product(chosen, METRICS):
        measured = measured_problems(outcomes(store, device.uuid, metric=metric), metric)
        sections += fit_sections(measured, balance_facts(device_facts(device)), metric)
    if not sections:
        raise UsageError(
            "too few measurements to fit: each precision and layout needs 8 problems with fused and a "
            "baseline; run `kswatch profile paper` or import measurements first"
        )
    path = output or model_path()
    former = read_sections(path) if path.exists() else ()
    write_sections(path, merge_sections(former, sections))
    fitted = (
        FittedSection(
            str(one.device["model"]),
            one.metric,
            one.precision,
            one.layout,
            one.problems,
            tuple(one.implementations),
        )
        for one in sections
    )
    return Fitted(path, path.stat().st_size, tuple(fitted))

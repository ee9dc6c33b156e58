"""The store's measurements and devices as types of `kswatch.kernels.heuristics`, and the target of advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kswatch.db.queries.headline import DeviceComparison, outcomes
from kswatch.db.queries.rows import DeviceRow
from kswatch.db.queries.runs import devices, find_device, matching_devices
from kswatch.db.records import COMPARABLE
from kswatch.db.store import Store
from kswatch.db.writes.speedup import COMPARED_METRICS
from kswatch.errors import UsageError
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.device_distance import model_words, same_model
from kswatch.kernels.heuristics.known_devices import find_device_facts
from kswatch.kernels.heuristics.learned import METRICS
from kswatch.kernels.heuristics.measured import MeasuredProblem
from kswatch.kernels.heuristics.model_file import learned_sections
from kswatch.kernels.layer_heuristics import stored
from kswatch.kernels.layer_heuristics.stored import device_facts
from kswatch.kernels.problem import Layout


def measured_problems(found: DeviceComparison, metric: str) -> list[MeasuredProblem]:
    """Every problem with its valid measurements of the metric."""
    return stored.measured_problems(found.problems, COMPARED_METRICS[metric], COMPARABLE)


@dataclass(frozen=True)
class TargetDevice:
    """The known facts of a device; `row` is None where the store does not hold it."""

    name: str
    facts: DeviceFacts = field(default_factory=dict)
    row: DeviceRow | None = None


def find_target_device(store: Store | None, spec: str | None) -> TargetDevice:
    """The stored device that the text names, or a device known by its model's name alone.

    A shorter name, such as `V100`, means the only model that contains its words.

    Raises:
        UsageError: nothing is named and the store does not hold just one, several are meant, or no such
            device is known; the message names near ones.
    """
    known = [] if store is None else devices(store)
    if store is None or not known:
        if spec is None:
            raise UsageError("nothing was measured here yet: name a device, as in --device H200")
        return _by_name(spec, known)
    if spec is None or matching_devices(store, spec):
        return _stored(find_device(store, spec))
    same_model_devices = [
        device for device in known if same_model({"model": spec}, {"model": device.model})
    ] or [device for device in known if model_words(spec) and model_words(spec) <= model_words(device.model)]
    if len(same_model_devices) == 1:
        return _stored(same_model_devices[0])
    return _by_name(spec, known)


def measured_on(
    store: Store | None, target: TargetDevice, layout: Layout = "batch_first"
) -> dict[str, list[MeasuredProblem]]:
    """The measured problems of a stored device in a layout, by metric; none for other devices."""
    if store is None or target.row is None:
        return {}
    return {
        metric: measured_problems(outcomes(store, target.row.uuid, metric=metric, layout=layout), metric)
        for metric in METRICS
    }


def _stored(row: DeviceRow) -> TargetDevice:
    return TargetDevice(row.model, device_facts(row), row)


def _by_name(spec: str, known: Sequence[DeviceRow]) -> TargetDevice:
    facts = find_device_facts(
        spec, [section.device for section in learned_sections()], [one.model for one in known]
    )
    return TargetDevice(str(facts["model"]), facts)

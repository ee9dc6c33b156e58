"""The target device of advice: one of the store, or a model's name alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from kswatch.ci.advisor.from_store import device_facts
from kswatch.db.queries.rows import DeviceRow
from kswatch.db.queries.runs import devices, find_device, matching_devices
from kswatch.db.store import Store
from kswatch.errors import UsageError
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.device_distance import same_model


@dataclass(frozen=True)
class TargetDevice:
    """The known facts of a device; `row` is None where the store does not hold it."""

    name: str
    facts: DeviceFacts = field(default_factory=dict)
    row: DeviceRow | None = None


def find_target_device(store: Store | None, spec: str | None) -> TargetDevice:
    """The stored device that the text names, or a device known by its model's name alone.

    Raises:
        UsageError: nothing is named and the store does not hold just one, or several are meant.
    """
    if store is None or not devices(store):
        if spec is None:
            raise UsageError("nothing was measured here yet: name a device, as in --device H200")
        return _unknown_device(spec)
    if spec is None or matching_devices(store, spec):
        row = find_device(store, spec)
    else:
        same_model_devices = [
            device for device in devices(store) if same_model({"model": spec}, {"model": device.model})
        ]
        if len(same_model_devices) != 1:
            return _unknown_device(spec)
        row = same_model_devices[0]
    return TargetDevice(row.model, device_facts(row), row)


def _unknown_device(spec: str) -> TargetDevice:
    return TargetDevice(spec, {"model": spec, "kind": "cpu" if spec.casefold() == "cpu" else "cuda"})

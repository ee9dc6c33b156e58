"""The device that advice is asked for: one of the store, or just a model's name."""

from __future__ import annotations

from dataclasses import dataclass, field

from kswatch.ci.advisor.from_store import device_facts
from kswatch.db.queries.rows import DeviceRow
from kswatch.db.queries.runs import devices, devices_meant, find_device
from kswatch.db.store import Store
from kswatch.errors import UsageError
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.families import same_model


@dataclass(frozen=True)
class AskedDevice:
    """What is known of it; `row` is None where the store does not hold it."""

    name: str
    facts: DeviceFacts = field(default_factory=dict)
    row: DeviceRow | None = None


def find_asked_device(store: Store | None, spec: str | None) -> AskedDevice:
    """The stored device that is meant, or one that is known by its model's name alone.

    Raises:
        UsageError: nothing is named and the store does not hold just one, or several are meant.
    """
    if store is None or not devices(store):
        if spec is None:
            raise UsageError("nothing was measured here yet: name a device, as in --device H200")
        return _unmeasured(spec)
    if spec is None or devices_meant(store, spec):
        row = find_device(store, spec)
    else:
        alike = [device for device in devices(store) if same_model({"model": spec}, {"model": device.model})]
        if len(alike) != 1:
            return _unmeasured(spec)
        row = alike[0]
    return AskedDevice(row.model, device_facts(row), row)


def _unmeasured(spec: str) -> AskedDevice:
    return AskedDevice(spec, {"model": spec, "kind": "cpu" if spec.casefold() == "cpu" else "cuda"})

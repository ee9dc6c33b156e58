"""The store's measurements and devices as types of `kswatch.kernels.heuristics`, and the target of advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from kswatch.db.queries.headline import DeviceComparison
from kswatch.db.queries.rows import DeviceRow
from kswatch.db.queries.runs import devices, find_device, matching_devices
from kswatch.db.records import COMPARABLE
from kswatch.db.store import Store
from kswatch.db.writes.speedup import COMPARED_METRICS
from kswatch.errors import UsageError
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.heuristics.device_distance import same_model
from kswatch.kernels.heuristics.measured import MeasuredProblem
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

KEPT_FACTS = ("model", "kind", "architecture", "memory_bytes", "cache_bytes", "multiprocessors")


def device_facts(device: DeviceRow) -> DeviceFacts:
    """The facts of a device that heuristics may use."""
    values = asdict(device)
    origin = "imported" if device.uuid.startswith("imported:") else "measured"
    return {**device.facts, **{name: values[name] for name in KEPT_FACTS}, "origin": origin}


def measured_problems(found: DeviceComparison, metric: str) -> list[MeasuredProblem]:
    """Every problem with its valid measurements of the metric."""
    column, found_problems = COMPARED_METRICS[metric], []
    for one in found.problems:
        key = one.problem
        problem = Problem(Pattern(key.a, key.b, key.c, key.d), key.batch, key.precision, key.layout)  # type: ignore[arg-type]
        values = {
            name: getattr(row, column)
            for name, row in one.measured.items()
            if row.status in COMPARABLE and getattr(row, column) is not None
        }
        found_problems.append(MeasuredProblem(problem, values, one.outcome.speedup))
    return found_problems


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

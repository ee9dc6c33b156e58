"""Discovery of devices: the host's CPU, GPUs by the UUID that NVML and CUDA share, and simulated boards."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kswatch.db.records import DeviceRecord
from kswatch.errors import MeasurementError
from kswatch.kernels.fused.cpu_twin.caches import cache_bytes
from kswatch.profiler.devices.simulated_spec import is_simulated, parse
from kswatch.profiler.probes import nvml

CPU_FOLDER = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Target:
    """A device that can be measured from this process."""

    record: DeviceRecord
    torch_device: str
    """`cpu` or `cuda:N` with CUDA's (not NVML's) index, or `simulated`."""
    spec: str = ""
    """Its name for `find` in another process: the UUID, or a simulated device's name with its options."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", self.spec or self.record.uuid)


def kind_of(uuid: str) -> Literal["cpu", "cuda"]:
    """The kind of a device of which only the UUID is known."""
    return "cpu" if uuid.startswith("cpu-") else "cuda"


def find(spec: str) -> Target:
    """The device named by `cpu`, `cuda`, `cuda:1`, a UUID, its unique prefix or a model name.

    Names like `sim:h200` are simulated devices, see `kswatch.profiler.devices.simulated_spec`.

    Raises:
        UsageError: there is no such simulated device.
        MeasurementError: no device, or more than one, has this name.
    """
    wanted = spec.strip()
    if _plain(wanted) == "cpu":
        return cpu_target()
    if is_simulated(wanted):
        simulated = parse(wanted)
        return Target(simulated.device(), "simulated", simulated.text)
    return choose(wanted, list_targets())


def choose(spec: str, targets: tuple[Target, ...]) -> Target:
    """The device among `targets` with this name, as in `find`.

    Raises:
        MeasurementError: no device, or more than one, has this name.
    """
    if is_simulated(spec):  # by its whole name: `sim:h200` is no prefix of `sim:h200:2`
        matches = [target for target in targets if target.record.uuid == parse(spec).uuid]
    else:
        matches = _matches(spec.strip(), targets)
    if len(matches) == 1:
        return matches[0]
    known = "; ".join(f"{t.torch_device} = {t.record.model} ({t.record.uuid})" for t in targets) or "nothing"
    if matches:
        raise MeasurementError(f"device {spec!r} is ambiguous; give a UUID: {known}")
    raise MeasurementError(f"there is no device {spec!r} here; this machine has: {known}")


def list_targets() -> tuple[Target, ...]:
    """The CPU, then every GPU that is visible to CUDA in this process."""
    return (cpu_target(), *_cuda_targets())


def _matches(wanted: str, targets: tuple[Target, ...]) -> list[Target]:
    """By exact name, else by prefix of the UUID; `cuda` is the first GPU."""
    if wanted == "cuda":
        return [target for target in targets if target.torch_device.startswith("cuda")][:1]
    names = [{t.torch_device, t.record.uuid, _plain(t.record.model)} for t in targets]
    exact = [t for t, known in zip(targets, names, strict=True) if {wanted, _plain(wanted)} & known]
    if exact or len(wanted) < 3:
        return exact
    prefixes = (wanted.lower(), f"gpu-{wanted.lower()}")
    return [target for target in targets if target.record.uuid.lower().startswith(prefixes)]


def _plain(model: str) -> str:
    """The model name for comparison: without case, and with spaces for `_`."""
    return model.replace("_", " ").casefold().strip()


def cpu_target() -> Target:
    """The host's CPU, identified by model, core count and machine."""
    model, machine = _cpu_model(), read_text(Path("/etc/machine-id")) or socket.gethostname()
    record = DeviceRecord(
        uuid=f"cpu-{hashlib.sha256(f'{model}|{os.cpu_count()}|{machine}'.encode()).hexdigest()[:16]}",
        kind="cpu",
        model=model,
        architecture=platform.machine(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cache_bytes=max(cache_bytes(CPU_FOLDER).values(), default=None),
        multiprocessors=len(physical_cores()),
        facts={"threads": cpu_threads(), "logical_cores": os.cpu_count()},
    )
    return Target(record, "cpu")


def physical_cores() -> tuple[int, ...]:
    """One logical core of each physical one that this process may run on."""
    first_of: dict[str, int] = {}
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    for core in sorted(allowed):
        siblings = read_text(CPU_FOLDER / f"cpu{core}/topology/thread_siblings_list") or str(core)
        first_of.setdefault(siblings, core)
    return tuple(first_of.values())


def cpu_threads() -> int:
    """Number of compute threads: physical cores, limited by a container's quota and OMP_NUM_THREADS."""
    threads = len(physical_cores())
    quota = (read_text(Path("/sys/fs/cgroup/cpu.max")) or "max").split()
    if quota[0].isdigit() and len(quota) == 2:
        threads = min(threads, max(1, -(-int(quota[0]) // int(quota[1]))))
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(threads, int(limit)) if limit.isdigit() and int(limit) > 0 else threads


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 itself; others convert it to fp32."""
    flags = (read_text(Path("/proc/cpuinfo")) or "").split()
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def _cpu_model() -> str:
    for line in (read_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def read_text(path: Path) -> str | None:
    """The stripped text of a file; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _cuda_targets() -> tuple[Target, ...]:
    if nvml.start():
        return ()  # checked first: importing torch costs seconds
    import torch

    return tuple(_cuda_target(index) for index in range(torch.cuda.device_count()))


def _cuda_target(index: int) -> Target:
    """The GPU with CUDA's index `index`; NVML knows it by UUID only, since its indices differ."""
    import torch

    facts = torch.cuda.get_device_properties(index)
    uuid = str(getattr(facts, "uuid", index))
    record = DeviceRecord(
        uuid=uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}",
        kind="cuda",
        model=facts.name,
        architecture=f"sm_{facts.major}{facts.minor}",
        memory_bytes=facts.total_memory,
        cache_bytes=getattr(facts, "L2_cache_size", None),
        multiprocessors=facts.multi_processor_count,
    )
    return Target(record, f"cuda:{index}")

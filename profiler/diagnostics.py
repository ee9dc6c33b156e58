"""What this machine has for measuring, and the cure for what it lacks: `kswatch doctor`.

Each check is a function that returns what it found and changes nothing. A thing that is fine to be
without (a GPU, an energy counter) is ok, and says what it means not to have it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from kswatch.errors import KswatchError
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.probes import nvml

FOLDERS = ("kernels", "profiler", "db", "ci", "dashboard")
OURS = "kswatch"
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Check:
    """One thing looked at; `cure` is empty where nothing is to be done."""

    name: str
    ok: bool
    what: str
    cure: str = ""


def checks(config: ProfilerConfig, database_url: str | None = None) -> list[Check]:
    """Everything that measuring needs, in the order in which one would mend it."""
    return [
        python(),
        *import_names(),
        torch(),
        compiler(),
        *gpus(),
        energy(),
        *configured_devices(config),
        *store(database_url),
        quiet(),
    ]


def python() -> Check:
    """Its version."""
    have = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= OLDEST_PYTHON:
        return Check("python", True, have)
    return Check("python", False, f"{have} is too old", "install Python 3.11 or newer, then run make setup")


def foreign_owner(name: str) -> str | None:
    """The other installed distribution that provides this import name; None where only we do."""
    others = [owner for owner in _owners().get(name, []) if owner.lower() != OURS]
    return others[0] if others else None


@cache
def _owners() -> dict[str, list[str]]:
    return dict(packages_distributions())


def import_names() -> Iterator[Check]:
    """That our short folder names are ours alone."""
    foreign = {name: owner for name in FOLDERS if (owner := foreign_owner(name))}
    for name, owner in foreign.items():
        cure = f"pip uninstall {owner}, or use a virtual environment of kswatch's own (make setup)"
        yield Check("import names", False, f"{owner} also provides a package called {name}", cure)
    if not foreign:
        yield Check("import names", True, f"{', '.join(FOLDERS)} are ours alone")


def torch() -> Check:
    """That it can be imported."""
    try:
        import torch as installed
    except (ImportError, OSError) as error:
        return Check("torch", False, f"cannot be imported: {error}", "run make setup")
    return Check("torch", True, f"{installed.__version__}, {devices.cpu_threads()} CPU threads")


def compiler() -> Check:
    """That the CPU twin of the fused product can be built, by building it."""
    from kswatch.kernels.fused.cpu_twin import twin

    found = twin.load()
    if isinstance(found, str):
        return Check("compiler", False, f"no CPU twin: {found}", "install g++ (apt install g++)")
    return Check("compiler", True, "the CPU twin is built")


def gpus() -> Iterator[Check]:
    """The driver, and that torch and PyCUDA can use it."""
    if reason := nvml.start():
        yield Check("GPU", True, f"none ({reason}); the CPU is measured")
        return
    found = devices.list_targets()[1:]
    if not found:
        cure = "install a torch built for CUDA (pytorch.org says which), and look at CUDA_VISIBLE_DEVICES"
        yield Check("GPU", False, "there is a driver, but torch sees no GPU", cure)
    for target in found:
        yield _gpu(target)
    yield _pycuda()


def _gpu(target: devices.Target) -> Check:
    from kswatch.profiler.devices.preflight import preflight

    before = preflight(target)
    known = f"{target.torch_device} is {target.record.model}, {target.record.uuid}"
    if before.time_refusal:
        return Check(
            "GPU", False, f"{known}: {before.time_refusal}", "end the other processes, or wait for them"
        )
    return Check("GPU", True, "; ".join((known, *before.notes)))


def _pycuda() -> Check:
    try:
        import pycuda.driver
    except (ImportError, OSError) as error:
        return Check("PyCUDA", False, f"cannot be imported: {error}", "pip install 'kswatch[gpu]'")
    return Check("PyCUDA", True, ".".join(map(str, pycuda.VERSION)))


def energy() -> Check:
    """What tells energy here."""
    from kswatch.profiler.devices.preflight import energy_refusal
    from kswatch.profiler.probes.energy_rapl import rapl_refusal

    told = []
    for target in devices.list_targets():
        refusal = rapl_refusal() if target.record.kind == "cpu" else energy_refusal(target)
        told.append(f"{target.torch_device}: {refusal or 'counted'}")
    return Check("energy", True, "; ".join(told))


def configured_devices(config: ProfilerConfig) -> Iterator[Check]:
    """That the devices of the nightly run are here."""
    for spec in config.devices:
        try:
            target = devices.find(spec)
        except KswatchError as error:
            yield Check("nightly device", False, str(error), "change profiler.devices in kswatch.toml")
        else:
            yield Check("nightly device", True, f"{spec} is {target.record.model}")


def store(database_url: str | None) -> Iterator[Check]:
    """That measurements can be written; a store that is not there yet is not made."""
    if database_url is None:
        return
    from kswatch.db.store import Store

    path = Path(database_url.removeprefix("sqlite:///"))
    if database_url.startswith("sqlite:///") and not path.exists():
        writable = os.access(path.parent, os.W_OK)
        what = f"{path} will be made" if writable else f"{path.parent} cannot be written"
        yield Check("store", writable, what, "" if writable else "set KSWATCH_DATABASE_URL to another place")
        return
    try:
        opened = Store.open(database_url, create=False)
    except KswatchError as error:
        yield Check("store", False, str(error), "see the sentence before; nothing was changed")
    else:
        yield Check("store", True, opened.name)
        opened.close()


def quiet() -> Check:
    """Whether something else is computing now."""
    from kswatch.profiler.devices.preflight import preflight

    notes = preflight(devices.cpu_target()).notes
    if notes:
        return Check("quiet machine", True, "; ".join(notes))
    return Check("quiet machine", True, "nothing else computes")

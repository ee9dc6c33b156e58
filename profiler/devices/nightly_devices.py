"""The devices that a nightly run measures, and that commands use when none is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices.discovery import Target, list_targets

ALL = "all"


def nightly_devices(
    config: ProfilerConfig, specs: Sequence[str] = (), known: Callable[[], Sequence[Target]] = list_targets
) -> tuple[str, ...]:
    """The devices named by `specs`, or else by the configuration, present or not.

    `all`, or no name at all, stands for every GPU that `known` lists, or the CPU where there is no GPU.
    """
    named = tuple(specs or config.devices)
    if named and ALL not in named:
        return named
    found = known()
    gpus = tuple(target for target in found if target.record.kind == "cuda")
    others = (name for name in named if name != ALL)
    return (*others, *(target.record.uuid for target in gpus or found))

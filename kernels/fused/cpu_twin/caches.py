"""The caches of this CPU, as Linux shows them; without torch."""

from __future__ import annotations

from pathlib import Path

CPU_FOLDER = Path("/sys/devices/system/cpu")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def cache_bytes(folder: Path | None = None) -> dict[int, int]:
    """Bytes of core 0's caches that hold data, by their level; empty where the system does not show them.

    Args:
        folder: of the CPUs, by default Linux's own.
    """
    found = {}
    for cache in (folder or CPU_FOLDER).glob("cpu0/cache/index*"):
        try:
            level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size[-1:] in _UNITS and (level + size[:-1]).isdecimal():
            found[int(level)] = int(size[:-1]) * _UNITS[size[-1]]
    return found

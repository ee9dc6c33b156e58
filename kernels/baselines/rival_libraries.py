"""The libraries of the rivals: which are installed, and in which versions. Imports none of them.

A rival is a baseline beyond stock torch. Its libraries come with an extra of their own, so a machine may
lack them; and a new version of one changes that rival's times, not those of any other implementation.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kswatch.declared.implementations import DECLARED, SYSTEM_POCL, Libraries

RIVAL_LIBRARIES: dict[str, Libraries] = {one.name: one.libraries for one in DECLARED if one.libraries}


def missing_libraries(rival: str, device_kind: str) -> str | None:
    """Why a rival cannot be had on devices of a kind: `not installed: pip install …`; None where it can."""
    libraries = RIVAL_LIBRARIES[rival]
    if device_kind not in libraries.needed:
        return f"computes on NVIDIA GPUs only, not on the {device_kind}"
    one_of = libraries.one_of if device_kind == "cpu" else ()
    if all(map(_version, libraries.needed[device_kind])) and (not one_of or any(map(_version, one_of))):
        return None
    return f"not installed: pip install -c constraints.txt 'kswatch[{libraries.extra}]'"


def rival_versions(device_kind: str) -> dict[str, dict[str, str]]:
    """Versions of the libraries of every rival that can be had on devices of a kind (`cpu` or `cuda`).

    `{"lazylinop": {"lazylinop": "1.24.28", "pyopencl": "2026.1.4"}, …}` in the catalogue's order. A rival
    that is not installed, or never computes on such a device, has no entry: the keys are the rivals that
    the device can have. Reads metadata of packages only, so it may be called in a process without torch.
    """
    return {
        rival: _versions((*libraries.needed[device_kind], *libraries.one_of, *libraries.recorded))
        for rival, libraries in RIVAL_LIBRARIES.items()
        if missing_libraries(rival, device_kind) is None
    }


def _versions(distributions: tuple[str, ...]) -> dict[str, str]:
    found = {name: _version(name) for name in distributions}
    return {name: text for name, text in found.items() if text}


@cache
def _version(distribution: str) -> str | None:
    """The version of an installed distribution, or of the system's pocl; None where it is not installed."""
    if distribution == SYSTEM_POCL:
        return _system_pocl()
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _system_pocl() -> str | None:
    """The version in the file name of the system's pocl, which OpenCL's loader finds by an `.icd` file."""
    folder = Path(os.environ.get("OCL_ICD_VENDORS") or "/etc/OpenCL/vendors")
    for file in sorted(folder.glob("pocl*.icd")):
        library = Path(file.read_text(encoding="utf-8").strip()).name
        return library.partition(".so.")[2] or library
    return None

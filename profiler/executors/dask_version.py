"""The version of kswatch on a Dask worker: plain text, exchanged before any class of ours is pickled."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from kswatch.profiler.revisions.code_revision import running_revision

KEY = "kswatch"
"""Under which a worker hands its version to the scheduler when it registers."""

Version = Mapping[str, str]

_FOLDERS = ("kswatch", "kernels", "profiler", "db", "ci", "dashboard")
"""Top-level packages of this project, those of release 0.1.0 included."""


def own_version() -> dict[str, str]:
    """Release and revision of this process."""
    try:
        release = version("kswatch")
    except PackageNotFoundError:  # a checkout that is not installed
        release = "unknown"
    return {"release": release, "commit": running_revision().commit}


def kswatch_device(worker: Mapping[str, object]) -> str | None:
    """UUID of the device of a worker as the scheduler describes it; None for a worker of another program."""
    resources = worker.get("resources")
    if not isinstance(resources, dict) or len(resources) != 1:
        return None
    (uuid,) = resources
    return uuid if KEY in worker or str(uuid) in str(worker.get("name")) else None


def version_refusal(uuid: str, worker: Mapping[str, object], own: Version) -> str | None:
    """Why tasks cannot be sent to this worker, as one sentence; None for a worker of the same version."""
    other = worker.get(KEY)
    if not isinstance(other, dict):
        return (
            f"the worker of device {uuid} runs a kswatch older than this coordinator's {own['release']}: "
            "bring both to the same version"
        )
    if other.get("release") != own["release"]:
        return (
            f"the worker of device {uuid} runs kswatch {other.get('release')}, "
            f"this coordinator {own['release']}: bring both to the same version"
        )
    if other.get("commit") != own["commit"]:
        return (
            f"the worker of device {uuid} runs commit {_short(other.get('commit'))}, "
            f"this coordinator {_short(own['commit'])}: bring both to the same one"
        )
    return None


def filter_version_refusal(record: logging.LogRecord) -> bool:
    """A filter of Dask's log: a call from a kswatch with other modules becomes a sentence without traceback.

    Coordinators from before the versions were exchanged send their functions at once.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _FOLDERS:
        record.msg = "a coordinator runs another version of kswatch (%s): bring both to the same version"
        record.args, record.exc_info, record.exc_text = (error,), None, None
    return True


def _short(commit: object) -> str:
    return str(commit)[:10] if commit else "unknown"

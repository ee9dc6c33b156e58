"""Change-point detection: the levels of one series and the indices where they change, as pure functions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kswatch.ci.change_points.detector import change_points, weighted_change_points
    from kswatch.ci.change_points.level import Level, levels

__all__ = ["Level", "change_points", "levels", "weighted_change_points"]

_MODULES = {
    "change_points": "detector",
    "weighted_change_points": "detector",
    "Level": "level",
    "levels": "level",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:  # on demand, so that importing the package does not import NumPy
        return getattr(importlib.import_module(f"kswatch.ci.change_points.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Change-point detection: the indices at which the level of one series changed, as pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kswatch.ci.change_points.detector import change_points, weighted_change_points

__all__ = ["change_points", "weighted_change_points"]


def __getattr__(name: str) -> object:
    if name in __all__:  # on demand, so that importing the package does not import NumPy
        from kswatch.ci.change_points import detector

        return getattr(detector, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

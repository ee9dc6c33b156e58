"""The detector's settings, each with its reason; the same for every series.

Chosen by cross-validation over whole series of SAP HANA that people marked, under the condition that the two
other published sets keep their scores (docs/change_points.md).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DetectorSettings:
    """Settings of `change_points`; distances are in noise units of the series."""

    shortest: int = 7
    """Points of a level at least; fewer are an episode. Of 508 levels that people marked, 2 are shorter."""
    outlier: float = 4.0
    """The distance from its level beyond which a point counts no more than at this distance."""
    price: float = 9.0
    """Cost of one more level in the finest fit, times ln(points), in squared units.

    Above the BIC's 2 or 3, since nights are correlated; and with `outlier` it sets how many points a far
    level needs: 2 x 9 ln(365) / 4^2, seven in a year of nights.
    """
    nearest: int = 25
    """Points on either side that count for a change, so that no slow drift adds up to one."""
    least_t: float = 5.0
    """Standard errors that a change must reach: a year of correlated nights has many chances of 3."""
    over_line: float = 1.1
    """Squares that a straight line must leave, over those of the two levels; their border is fitted."""


DEFAULTS = DetectorSettings()

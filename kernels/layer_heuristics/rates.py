"""Rates of the parts of layers, fitted to measured layers or taken from the fitted factors of a device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.heuristics.base import DeviceFacts
from kswatch.kernels.layer_heuristics.parts import Part, parts_of

REWEIGHTINGS = 10
LEAST_LAYERS = 8
"""Fewest measured layers with a part of a kind for rates of this kind."""


@dataclass(frozen=True, order=True)
class LayerCell:
    """A layer by a structure and an implementation."""

    shape: LayerShape
    structure: Structure
    implementation: str

    @classmethod
    def parse(cls, shape: LayerShape, text: str) -> LayerCell:
        """The cell of a layer with this name, such as `low_rank 24/fused`.

        Raises:
            UsageError: there is no such structure.
        """
        structure, _, implementation = text.rpartition("/")
        return cls(shape, Structure.parse(structure), implementation)

    def __str__(self) -> str:
        return f"{self.structure}/{self.implementation}"


@dataclass(frozen=True)
class MeasuredCell:
    """The cost of a layer's cell on one device: ms or mJ."""

    cell: LayerCell
    cost: float


@dataclass(frozen=True)
class PartRates:
    """Cost of each term, by kind of part."""

    constants: Mapping[str, tuple[float, ...]]

    def predict(self, parts: Sequence[Part]) -> float | None:
        """The sum over the parts; None where there are none, or one has no rates."""
        if not parts or any(part.kind not in self.constants for part in parts):
            return None
        return sum(float(np.dot(self.constants[part.kind], part.terms)) for part in parts)


def fit_rates(measured: Iterable[MeasuredCell], facts: DeviceFacts) -> PartRates:
    """Rates from the costs of whole layers of one precision and layout on one device."""
    pairs = [
        (parts_of(one.cell.structure, one.cell.shape, one.cell.implementation, facts), one.cost)
        for one in measured
    ]
    return fit_parts([(parts, cost) for parts, cost in pairs if parts])


def fit_parts(measured: Sequence[tuple[Sequence[Part], float]]) -> PartRates:
    """Constants >= 0 for which the sums of terms are nearest to the costs, in relative terms.

    All kinds are fitted together, since a layer may have parts of several. Least squares of
    (predicted - cost) / sqrt(predicted × cost), as in `kswatch.kernels.heuristics.training`.
    """
    widths = _widths(measured)
    if not widths:
        return PartRates({})
    table = np.array([_row(parts, widths) for parts, _ in measured if _is_known(parts, widths)])
    values = np.array([cost for parts, cost in measured if _is_known(parts, widths)])
    constants = _relative_least_squares(table, values)
    starts = np.cumsum([0, *widths.values()])
    return PartRates(
        {
            kind: tuple(constants[start : start + width].tolist())
            for (kind, width), start in zip(widths.items(), starts, strict=False)
        }
    )


def _widths(measured: Sequence[tuple[Sequence[Part], float]]) -> dict[str, int]:
    """The number of terms of each kind that enough layers have."""
    counts: dict[str, int] = {}
    widths: dict[str, int] = {}
    for parts, _ in measured:
        for kind in {part.kind for part in parts}:
            counts[kind] = counts.get(kind, 0) + 1
        widths |= {part.kind: len(part.terms) for part in parts}
    return {kind: width for kind, width in sorted(widths.items()) if counts[kind] >= LEAST_LAYERS}


def _is_known(parts: Sequence[Part], widths: Mapping[str, int]) -> bool:
    return all(part.kind in widths for part in parts)


def _row(parts: Sequence[Part], widths: Mapping[str, int]) -> list[float]:
    sums = {kind: np.zeros(width) for kind, width in widths.items()}
    for part in parts:
        sums[part.kind] += part.terms
    return [value for one in sums.values() for value in one.tolist()]


def _relative_least_squares(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    predicted = values
    constants = np.zeros(table.shape[1])
    for _ in range(REWEIGHTINGS):
        weight = 1 / np.sqrt(predicted * values)
        weighted = table * weight[:, None]
        size = np.where(weighted.max(axis=0) > 0, weighted.max(axis=0), 1.0)
        constants = nnls(weighted / size, values * weight)[0] / size
        predicted = np.maximum(table @ constants, 1e-6 * values)
    return constants

"""Boosted trees as plain arrays: evaluated with NumPy only, stored as JSON.

Every tree is complete to its depth, so the children of node k are 2k + 1 (feature <= threshold) and
2k + 2. A leaf at a smaller depth is repeated below itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kswatch.kernels.heuristics.cost_model import Floats


@dataclass(frozen=True)
class Forest:
    """A sum of trees, each of shape `2**depth - 1` splits and `2**depth` leaves."""

    start: float
    split_features: npt.NDArray[np.int64]
    thresholds: Floats
    leaves: Floats

    def predict(self, table: Floats) -> Floats:
        """The sum over all trees for each row of a feature table."""
        if not len(self.leaves):
            return np.full(len(table), self.start)
        parts = [table[row : row + _ROWS_AT_ONCE] for row in range(0, len(table), _ROWS_AT_ONCE)]
        return self.start + np.concatenate([self._leaves_of(part).sum(axis=1) for part in parts])

    def _leaves_of(self, table: Floats) -> Floats:
        """The value of each tree for each row of features, of shape (rows, trees)."""
        trees, splits = self.split_features.shape
        first = np.arange(trees) * splits
        features, thresholds = self.split_features.ravel(), self.thresholds.ravel()
        rows = np.arange(len(table))[:, None] * table.shape[1]
        values, node = table.ravel(), np.zeros((len(table), trees), dtype=np.int64)
        for _ in range(splits.bit_length()):
            index = first + node
            node = 2 * node + 1 + (values.take(rows + features.take(index)) > thresholds.take(index))
        return np.asarray(self.leaves.ravel().take(first + np.arange(trees) + node - splits))

    def to_plain(self) -> dict[str, Any]:
        """The forest as values for JSON, rounded to five significant digits."""
        return {
            "start": _rounded(self.start),
            "split_features": self.split_features.tolist(),
            "thresholds": [[_rounded(value) for value in tree] for tree in self.thresholds.tolist()],
            "leaves": [[_rounded(value) for value in tree] for tree in self.leaves.tolist()],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Forest:
        """The forest from the values of `to_plain`.

        Raises:
            ValueError, KeyError, TypeError: the values have another form.
        """
        leaves = np.array(plain["leaves"], dtype=float)
        splits = np.array(plain["split_features"], dtype=np.int64)
        thresholds = np.array(plain["thresholds"], dtype=float)
        if splits.shape != thresholds.shape or len(splits) != len(leaves):
            raise ValueError("trees of unequal shape")
        if len(leaves) and (leaves.ndim != 2 or leaves.shape[1] != splits.shape[1] + 1):
            raise ValueError("a tree that is not complete")
        return cls(float(plain["start"]), splits, thresholds, leaves)


_ROWS_AT_ONCE = 256
"""Keeps the intermediate arrays in the cache."""

NO_TREES = Forest(0.0, np.empty((0, 0), dtype=np.int64), np.empty((0, 0)), np.empty((0, 0)))


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")

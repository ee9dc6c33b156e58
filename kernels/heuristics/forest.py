"""Boosted trees as plain arrays: evaluated by NumPy alone, kept as JSON.

Every tree is complete to its depth, so that a node's children are found by arithmetic: node k has
2k + 1 (feature <= threshold) and 2k + 2. A leaf that came earlier is repeated below itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kernels.heuristics.cost_model import Floats


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
        trees = np.arange(len(self.leaves))
        splits = self.split_features.shape[1]
        node = np.zeros((len(table), len(trees)), dtype=np.int64)
        rows = np.arange(len(table))[:, None]
        for _ in range(splits.bit_length()):
            goes_right = table[rows, self.split_features[trees, node]] > self.thresholds[trees, node]
            node = 2 * node + 1 + goes_right
        return np.asarray(self.start + self.leaves[trees, node - splits].sum(axis=1))

    def to_plain(self) -> dict[str, Any]:
        """What JSON holds; values keep five significant digits."""
        return {
            "start": _rounded(self.start),
            "split_features": self.split_features.tolist(),
            "thresholds": [[_rounded(value) for value in tree] for tree in self.thresholds.tolist()],
            "leaves": [[_rounded(value) for value in tree] for tree in self.leaves.tolist()],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Forest:
        """The forest that `to_plain` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is not of that form.
        """
        leaves = np.array(plain["leaves"], dtype=float)
        splits = np.array(plain["split_features"], dtype=np.int64)
        thresholds = np.array(plain["thresholds"], dtype=float)
        if splits.shape != thresholds.shape or len(splits) != len(leaves):
            raise ValueError("trees of unequal shape")
        if len(leaves) and (leaves.ndim != 2 or leaves.shape[1] != splits.shape[1] + 1):
            raise ValueError("a tree that is not complete")
        return cls(float(plain["start"]), splits, thresholds, leaves)


NO_TREES = Forest(0.0, np.empty((0, 0), dtype=np.int64), np.empty((0, 0)), np.empty((0, 0)))


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")

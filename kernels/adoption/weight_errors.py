"""What a weight loses as a chain, and as a truncated singular value decomposition of the same size."""

from __future__ import annotations

import torch

from kswatch.errors import UsageError
from kswatch.kernels.adoption.chains import weight_count
from kswatch.kernels.heuristics.layer_costs import Chain
from kswatch.kernels.layer.projection import project


class WeightErrors:
    """The errors of one weight; its singular values are computed once.

    Args:
        matrix: (features out, features in).
    """

    def __init__(self, matrix: torch.Tensor) -> None:
        self._matrix = matrix.detach().double()
        self._energies: torch.Tensor | None = None

    def of_chain(self, chain: Chain) -> float | None:
        """Relative Frobenius error of the projection; None where the weight cannot be projected on it."""
        try:
            return project(self._matrix, chain).relative_error
        except UsageError:
            return None

    def of_svd(self, chain: Chain) -> float:
        """Relative Frobenius error of the best matrix of the largest rank with no more weights."""
        if self._energies is None:
            m = self._matrix
            gram = m @ m.t() if m.shape[0] <= m.shape[1] else m.t() @ m
            self._energies = torch.linalg.eigvalsh(gram).clamp(min=0).flip(0)
        rank = weight_count(chain) // sum(self._matrix.shape)
        total = float(self._energies.sum())
        return (float(self._energies[rank:].sum()) / total) ** 0.5 if total else 0.0

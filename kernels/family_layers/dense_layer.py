"""The dense layer in both layouts."""

from __future__ import annotations

import torch
from torch import nn

from kswatch.kernels.problem import Layout


class DenseLayer(nn.Module):
    """Y = X Wᵀ (`batch_first`) or Y = W X (`batch_last`), as stock torch computes it.

    Attributes:
        weight: Parameter of shape (out_features, in_features).
    """

    def __init__(self, in_features: int, out_features: int, layout: Layout = "batch_first") -> None:
        super().__init__()
        self.layout = layout
        self.weight = nn.Parameter(torch.empty(out_features, in_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The product with X of shape (batch, in_features) or (in_features, batch)."""
        if self.layout == "batch_first":
            return nn.functional.linear(x, self.weight)
        return torch.mm(self.weight, x)

"""The reference of the layer: einsum over the same weights, by plain torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kswatch.kernels import KSLinear


def by_einsum(layer: KSLinear, x: torch.Tensor) -> torch.Tensor:
    """The layer's output for x of shape (batch, features) or (features, batch), differentiable."""
    y = x
    equation, axis = ("iklj,nilj->nikj", 1) if layer.layout == "batch_first" else ("iklj,iljn->ikjn", 0)
    for factor in layer.factors:
        weight = factor.weight
        a, _, _, d = weight.shape
        y = torch.einsum(equation, weight, y.unflatten(axis, (a, -1, d))).flatten(axis, axis + 2)
    if layer.bias is None:
        return y
    return y + (layer.bias if layer.layout == "batch_first" else layer.bias[:, None])


@pytest.fixture(name="by_einsum", scope="session")
def _by_einsum() -> Callable[[KSLinear, torch.Tensor], torch.Tensor]:
    return by_einsum

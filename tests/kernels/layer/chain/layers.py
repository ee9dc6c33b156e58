"""Layers of chains whose pairs of factors are multiplied in one pass."""

from __future__ import annotations

from itertools import product

import torch

from kswatch.kernels.linear import KSLinear

CHAINS = {
    "two": [(16, 48, 64, 1), (1, 96, 256, 3)],
    "three": [(16, 48, 64, 1), (1, 256, 256, 3), (2, 200, 128, 3)],
    "four": [(16, 48, 64, 1), (1, 256, 256, 3), (2, 200, 128, 3), (5, 50, 240, 1)],
}
"""Every second factor has too many weights for the products in C++ of a tiny layer."""
KINDS = list(product(("batch_first", "batch_last"), (torch.float32, torch.bfloat16, torch.float16)))


def pair_of_layers(name: str = "two", layout: str = "batch_first", dtype=torch.float32):
    """The same layer by one factor after the other, and in one pass."""
    torch.manual_seed(1)
    apart = KSLinear(CHAINS[name], algorithm="fused", layout=layout, dtype=dtype)
    together = KSLinear(CHAINS[name], algorithm="fused_chain", layout=layout, dtype=dtype)
    together.load_state_dict(apart.state_dict())
    return apart, together


def an_input(layer: KSLinear, batch: int = 70) -> torch.Tensor:
    torch.manual_seed(2)
    sizes = (batch, layer.in_features) if layer.layout == "batch_first" else (layer.in_features, batch)
    return torch.randn(sizes, dtype=layer.factors[0].weight.dtype)

"""Random weights from a seed: equal for every variant of a structure, in any order of drawing."""

from __future__ import annotations

from math import sqrt
from zlib import crc32

import torch
from torch import nn

from kswatch.kernels.linear import KSLinear
from kswatch.kernels.models.base import Chain


class WeightSource:
    """Draws float32 weights on the CPU; each name has a stream of its own.

    What was drawn is kept, so that variants of a model share its memory, and drawing it takes time once.

    Args:
        seed: from 0; other seeds give other weights for each name.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._known: dict[tuple[str, tuple[int, ...], float], torch.Tensor] = {}

    def normal(self, name: str, shape: tuple[int, ...], std: float) -> torch.Tensor:
        """Numbers N(0, std²), which must not be changed."""
        key = name, shape, std
        if key not in self._known:
            generator = torch.Generator().manual_seed(crc32(f"{self.seed} {name}".encode()))
            self._known[key] = torch.randn(shape, generator=generator).mul_(std)
        return self._known[key]

    def linear(self, name: str, in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
        """A dense layer whose outputs have a third of the inputs' variance, as by default in torch."""
        layer = nn.Linear(in_features, out_features, bias=bias, device="meta")
        layer.weight = nn.Parameter(self.weight(name, in_features, out_features))
        if bias:
            layer.bias = nn.Parameter(self.bias(name, in_features, out_features))
        return layer

    def stacked(self, names: tuple[str, ...], in_features: int, out_features: int) -> nn.Linear:
        """Several dense layers of the same input as one, without bias."""
        layer = nn.Linear(in_features, len(names) * out_features, bias=False, device="meta")
        layer.weight = nn.Parameter(
            torch.cat([self.weight(name, in_features, out_features) for name in names])
        )
        return layer

    def weight(self, name: str, in_features: int, out_features: int) -> torch.Tensor:
        """The matrix (out_features, in_features) of a dense layer."""
        return self.normal(f"{name}.weight", (out_features, in_features), sqrt(1 / (3 * in_features)))

    def bias(self, name: str, in_features: int, out_features: int) -> torch.Tensor:
        """The bias of a layer."""
        return self.normal(f"{name}.bias", (out_features,), sqrt(1 / (3 * in_features)))

    def chain(self, name: str, chain: Chain, algorithm: str, bias: bool = True) -> KSLinear:
        """A chain whose outputs have a third of the inputs' variance; its bias is the dense layer's."""
        layer = KSLinear(chain, bias, algorithm, device="meta")
        for place, factor in enumerate(layer.factors):
            gain = 1 / 3 if place == len(chain) - 1 else 1.0
            values = self.normal(f"{name}.{place}", chain[place].as_tuple(), sqrt(gain / chain[place].c))
            factor.weight = nn.Parameter(values)
        if layer.bias is not None:
            layer.bias = nn.Parameter(self.bias(name, layer.in_features, layer.out_features))
        return layer

    def norm(self, name: str, features: int) -> nn.LayerNorm:
        """A LayerNorm with weights about 1 and biases about 0."""
        layer = nn.LayerNorm(features)
        with torch.no_grad():
            layer.weight.copy_(1 + self.normal(f"{name}.weight", (features,), 0.1))
            layer.bias.copy_(self.normal(f"{name}.bias", (features,), 0.1))
        return layer


class EqualWeights(WeightSource):
    """Weights of the same shapes for a forward whose values do not matter: drawing takes longer than it."""

    def __init__(self) -> None:
        super().__init__(0)

    def normal(self, name: str, shape: tuple[int, ...], std: float) -> torch.Tensor:
        """The standard deviation everywhere, which must not be changed."""
        key = name, shape, std
        if key not in self._known:
            self._known[key] = torch.full(shape, std)
        return self._known[key]

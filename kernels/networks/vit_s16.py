"""ViT-S/16: `simple_vit` without class token, with 2-D sine positions and mean pooling."""

from __future__ import annotations

import torch
from torch import nn

from kswatch.kernels.models.base import PUBLISHED, Variant
from kswatch.kernels.models.vit_s16 import (
    CHANNELS,
    CLASSES,
    DEPTH,
    HEADS,
    HIDDEN,
    PATCH,
    PATCH_ELEMENTS,
    SIDE,
    WIDTH,
)
from kswatch.kernels.networks.attention import fair_attention
from kswatch.kernels.networks.weights import WeightSource

QKV = ("to_q", "to_k", "to_v")
HEAD_WIDTH = WIDTH // HEADS
TEMPERATURE = 10_000


class VisionTransformer(nn.Module):
    """Takes images (batch, 3, 224, 224), gives logits (batch, 1000)."""

    def __init__(self, variant: Variant, source: WeightSource) -> None:
        super().__init__()
        self.patch_norm = source.norm("patch_norm", PATCH_ELEMENTS)
        self.patches = source.linear("patches", PATCH_ELEMENTS, WIDTH)
        self.embedding_norm = source.norm("embedding_norm", WIDTH)
        self.register_buffer("positions", sine_positions(SIDE, WIDTH))
        self.blocks = nn.Sequential(*(Block(variant, source, f"blocks.{number}") for number in range(DEPTH)))
        self.norm = source.norm("norm", WIDTH)
        self.head = source.linear("head", WIDTH, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits of each class."""
        x = self.embedding_norm(self.patches(self.patch_norm(patches_of(images)))) + self.positions
        return self.head(self.norm(self.blocks(x)).mean(dim=1))


class Block(nn.Module):
    """Pre-norm attention and MLP, (batch, 196, 384) to the same."""

    def __init__(self, variant: Variant, source: WeightSource, name: str) -> None:
        super().__init__()
        self.attention_norm = source.norm(f"{name}.attention_norm", WIDTH)
        self.attention = Attention(variant, source, name)
        self.mlp_norm = source.norm(f"{name}.mlp_norm", WIDTH)
        self.up = _module(variant, source, name, "up", WIDTH, HIDDEN, True)
        self.down = _module(variant, source, name, "down", HIDDEN, WIDTH, True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block with its two residual connections."""
        x = x + self.attention(self.attention_norm(x))
        return x + self.down(nn.functional.gelu(self.up(self.mlp_norm(x))))


class Attention(nn.Module):
    """q, k, v and out without bias.

    The published dense one has three products and attention written out; the fair one a product for q, k and
    v together, and torch's own attention, which the chains use as well.
    """

    def __init__(self, variant: Variant, source: WeightSource, name: str) -> None:
        super().__init__()
        self.is_published = variant.implementation == PUBLISHED
        names = tuple(f"{name}.{one}" for one in QKV)
        chains = variant.structure.chains
        self.stacked = self.separate = None
        if self.is_published or any(one in chains for one in QKV):
            modules = (_module(variant, source, name, one, WIDTH, WIDTH, False) for one in QKV)
            self.separate = nn.ModuleList(modules)
        else:
            self.stacked = source.stacked(names, WIDTH, WIDTH)
        self.to_out = source.linear(f"{name}.to_out", WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attention over all rows of a sample."""
        q, k, v = (self._by_head(one) for one in self._products(x))
        if self.is_published:
            scores = torch.einsum("bhid,bhjd->bhij", q, k) * HEAD_WIDTH**-0.5
            mixed = torch.einsum("bhij,bhjd->bhid", scores.softmax(dim=-1), v)
        else:
            mixed = fair_attention(q, k, v)
        return self.to_out(mixed.transpose(1, 2).reshape(x.shape))

    def _products(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.stacked is not None:
            return self.stacked(x).chunk(3, dim=-1)
        assert self.separate is not None
        return tuple(one(x) for one in self.separate)

    @staticmethod
    def _by_head(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2)


def _module(
    variant: Variant,
    source: WeightSource,
    block: str,
    name: str,
    in_features: int,
    out_features: int,
    bias: bool,
) -> nn.Module:
    chain = variant.structure.chains.get(name)
    if chain is None:
        return source.linear(f"{block}.{name}", in_features, out_features, bias)
    return source.chain(f"{block}.{name}", chain, variant.implementation, bias)


def patches_of(images: torch.Tensor) -> torch.Tensor:
    """(batch, 196, 768) from (batch, 3, 224, 224): of each patch rows, columns, channels, in this order."""
    split = images.unflatten(3, (SIDE, PATCH)).unflatten(2, (SIDE, PATCH))
    return split.permute(0, 2, 4, 3, 5, 1).reshape(images.shape[0], SIDE**2, CHANNELS * PATCH**2)


def sine_positions(side: int, width: int) -> torch.Tensor:
    """Sines and cosines of both coordinates, (side², width)."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    quarter = width // 4
    omega = TEMPERATURE ** -(torch.arange(quarter) / (quarter - 1))
    angles = [axis.flatten()[:, None] * omega for axis in (columns, rows)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1).float()

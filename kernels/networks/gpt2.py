"""GPT-2 medium without its language head, and one block of it."""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import nn
from torch.nn.functional import gelu

from kswatch.kernels.models.base import PUBLISHED, Variant
from kswatch.kernels.models.gpt2 import DEPTH, HEADS, HIDDEN, POSITIONS, VOCABULARY, WIDTH
from kswatch.kernels.networks.attention import fair_attention, written_out_attention
from kswatch.kernels.networks.weights import WeightSource

HEAD_WIDTH = WIDTH // HEADS


class Gpt2(nn.Module):
    """Takes tokens (batch, length), gives hidden states (batch, length, 1024)."""

    def __init__(self, variant: Variant, source: WeightSource) -> None:
        super().__init__()
        self.tokens = nn.Embedding.from_pretrained(source.normal("tokens", (VOCABULARY, WIDTH), 0.02))
        self.positions = nn.Embedding.from_pretrained(source.normal("positions", (POSITIONS, WIDTH), 0.02))
        self.blocks = nn.Sequential(*(Block(variant, source, f"blocks.{number}") for number in range(DEPTH)))
        self.norm = source.norm("norm", WIDTH)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The hidden states after the last normalisation."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.norm(self.blocks(self.tokens(tokens) + self.positions(places)))


class Block(nn.Module):
    """Pre-norm causal attention and MLP, (batch, length, 1024) to the same.

    The published dense one stores weights as (in, out), writes attention and GELU out; the fair one uses
    torch's own, as the chains do.
    """

    def __init__(self, variant: Variant, source: WeightSource, name: str) -> None:
        super().__init__()
        self.is_published = variant.implementation == PUBLISHED
        self.attention_norm = source.norm(f"{name}.attention_norm", WIDTH)
        self.qkv = _module(variant, source, name, "qkv", WIDTH, 3 * WIDTH)
        self.proj = _module(variant, source, name, "proj", WIDTH, WIDTH)
        self.mlp_norm = source.norm(f"{name}.mlp_norm", WIDTH)
        self.up = _module(variant, source, name, "up", WIDTH, HIDDEN)
        self.down = _module(variant, source, name, "down", HIDDEN, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block with its two residual connections."""
        x = x + self._attention(self.attention_norm(x))
        hidden = self.up(self.mlp_norm(x))
        hidden = written_out_gelu(hidden) if self.is_published else gelu(hidden, approximate="tanh")
        return x + self.down(hidden)

    def _attention(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            one.unflatten(-1, (HEADS, HEAD_WIDTH)).transpose(1, 2) for one in self.qkv(x).chunk(3, dim=-1)
        )
        if self.is_published:
            mixed = written_out_attention(q, k, v, causal=True)
        else:
            mixed = fair_attention(q, k, v, causal=True)
        return self.proj(mixed.transpose(1, 2).reshape(x.shape))


class TransposedLinear(nn.Module):
    """x·W + bias with W stored as (in, out), as in GPT-2's own code."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().t().contiguous())
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer applied to (..., in_features)."""
        y = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return y.view(*x.shape[:-1], -1)


def written_out_gelu(x: torch.Tensor) -> torch.Tensor:
    """GELU by tanh, operation by operation."""
    return 0.5 * x * (1.0 + torch.tanh(sqrt(2.0 / pi) * (x + 0.044715 * torch.pow(x, 3.0))))


def _module(
    variant: Variant, source: WeightSource, block: str, name: str, in_features: int, out_features: int
) -> nn.Module:
    chain = variant.structure.chains.get(name)
    if chain is not None:
        return source.chain(f"{block}.{name}", chain, variant.implementation)
    linear = source.linear(f"{block}.{name}", in_features, out_features)
    return TransposedLinear(linear) if variant.implementation == PUBLISHED else linear

"""A small network of transformer blocks with what a plan must see: shared layers, hooks, Conv1D."""

from __future__ import annotations

import torch
from torch import nn

WIDTH, ROWS, CLASSES = 64, 98, 40


class Conv1D(nn.Module):
    """Like the layer of this name in transformers: y = x·W + bias, W stored as (in, out)."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf) * nx**-0.5)
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return flat.view(*x.shape[:-1], self.nf)


class Block(nn.Module):
    """Attention and two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = Conv1D(WIDTH, 4 * WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.down(torch.relu(self.up(self.norm(x))))


class SmallViT(nn.Module):
    """Three blocks: the third is the first again, the second shares a weight with it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * WIDTH, WIDTH)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.blocks.append(self.blocks[0])
        self.blocks[1].up.weight = self.blocks[0].up.weight
        self.words = nn.Embedding(CLASSES, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES, bias=False)
        self.head.weight = self.words.weight
        self.hooked = nn.Linear(WIDTH, WIDTH)
        self.hooked.register_forward_hook(lambda module, inputs, y: None)
        self.unused = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.hooked(x))


def small_vit() -> tuple[SmallViT, torch.Tensor]:
    """The network with random weights, and an input for it."""
    torch.manual_seed(0)
    return SmallViT(), torch.randn(2, ROWS // 2, 3 * WIDTH)

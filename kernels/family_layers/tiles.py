"""Tiles of t x t of a matrix, as vectors: gathered before an encoder, scattered after a decoder.

Entry p·t + q of a tile's vector is row p, column q of the tile, where rows are those of the batch in both
layouts.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from kswatch.kernels.problem import Layout


def padded(x: torch.Tensor, tile: int, layout: Layout) -> torch.Tensor:
    """X with rows of zeros up to a multiple of the tile."""
    axis = 0 if layout == "batch_first" else 1
    missing = -x.shape[axis] % tile
    if not missing:
        return x
    return pad(x, (0, 0, 0, missing) if axis == 0 else (0, missing))


def tiles_of(x: torch.Tensor, tile: int, layout: Layout) -> torch.Tensor:
    """A view of whole tiles (rows of tiles, columns of tiles, t, t) of X: (n, k) or (k, n)."""
    if layout == "batch_first":
        return x.view(x.shape[0] // tile, tile, x.shape[1] // tile, tile).permute(0, 2, 1, 3)
    return x.view(x.shape[0] // tile, tile, x.shape[1] // tile, tile).permute(2, 0, 3, 1)


def untiled(tiles: torch.Tensor, rows: int, layout: Layout) -> torch.Tensor:
    """The contiguous matrix, (n, m) or (m, n), of tiles of shape (n/t, m/t, t, t), cut to its first rows."""
    across, along, tile, _ = tiles.shape
    if layout == "batch_first":
        return tiles.permute(0, 2, 1, 3).reshape(across * tile, along * tile)[:rows]
    return tiles.permute(1, 3, 0, 2).reshape(along * tile, across * tile)[:, :rows].contiguous()

"""The order in which a tile of the kernel reads weights; they are re-laid out once, at prepare time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from math import prod

import torch
from torch.nn.functional import pad

from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.reference import quantise, round_to_tf32

BYTE_COLUMNS = (0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15)
"""The column at each place of sixteen, as ldmatrix delivers bytes of X where n is innermost (`load_x`)."""


def lay_out(weights: torch.Tensor, tile: Tile) -> torch.Tensor:
    """A flat tensor: for each i, group of j's, tile of rows and step of c, one contiguous piece.

    A block reads its pieces sequentially in units of 16 bytes, without bounds checks, since they are
    padded with zeros. In fp8 the pieces hold quantised weights, and the scale of each row of K, in fp32,
    follows after them: all as bytes.

    Args:
        weights: Of shape (a, b, c, d), in the type that `prepare` takes.
        tile: Its rows, depth and neighbours give the size of a piece, its family the order within a piece.
    """
    if tile.precision == "tf32":
        weights = round_to_tf32(weights)
    if tile.precision == "fp8":
        elements, scales = quantise(weights)
        pieces = _in_pieces(elements.view(torch.uint8), tile)
        return torch.cat((pieces, scales.contiguous().view(torch.uint8).reshape(-1)))
    return _in_pieces(weights, tile)


def _in_pieces(weights: torch.Tensor, tile: Tile) -> torch.Tensor:
    a, b, c, d = weights.shape
    padded = pad(weights, (0, -d % tile.neighbours, 0, -c % tile.depth, 0, -b % tile.rows))
    if tile.in_fours:
        padded = padded.unflatten(2, (-1, len(BYTE_COLUMNS)))[:, :, :, list(BYTE_COLUMNS)].flatten(2, 3)
    rows, columns, groups = (
        size // part
        for size, part in zip(padded.shape[1:], (tile.rows, tile.depth, tile.neighbours), strict=True)
    )
    cut = padded.reshape(a, rows, tile.rows, columns, tile.depth, groups, tile.neighbours)
    pieces = cut.permute(0, 5, 1, 3, 6, 2, 4)  # ..., j, row, column
    order = {
        "cores": lambda pieces: pieces.mT,
        "tensor_cores": _fragments,
        "warpgroups": _swizzled,
        "persistent": _swizzled,
    }
    return order[tile.family](pieces).reshape(-1)


WeightLayout = Callable[[torch.Tensor, Tile], torch.Tensor]
"""`lay_out`, or the same in fewer launches."""


def lay_out_at_once(weights: torch.Tensor, tile: Tile) -> torch.Tensor:
    """The same as `lay_out` in one launch; in two where the tile pads, and more in tf32 and fp8: they round.

    It reads each weight and its index (4 bytes; 8 where the tile pads), and writes each once.
    """
    if tile.precision == "tf32":
        weights = round_to_tf32(weights)
    if tile.precision == "fp8":
        return lay_out(weights, tile)
    size, indices = _order(
        tuple(weights.shape), replace(tile, precision="fp32"), weights.dtype, weights.device
    )
    flat = weights.reshape(-1)
    if size == len(flat):
        return flat.index_select(0, indices)
    return flat.new_zeros(size).index_copy_(0, indices, flat)


@lru_cache(maxsize=256)
def _order(
    shape: tuple[int, ...], tile: Tile, dtype: torch.dtype, device: torch.device
) -> tuple[int, torch.Tensor]:
    """The size of the laid-out weights, and where each comes from; where each goes to if the tile pads."""
    numbers = torch.arange(1, prod(shape) + 1).view(shape)
    digits = (
        torch.int16 if dtype.itemsize == 2 else torch.int32
    )  # the order depends on the size of an element
    high, low = (lay_out(part.to(digits), tile).long() for part in (numbers >> 15, numbers & 0x7FFF))
    places = (high << 15) + low
    if len(places) == prod(shape):
        return len(places), (places - 1).to(device=device, dtype=torch.int32)
    positions = torch.empty(prod(shape), dtype=torch.int64)
    kept = places.nonzero().flatten()
    positions[places[kept] - 1] = kept
    return len(places), positions.to(device)


def _swizzled(pieces: torch.Tensor) -> torch.Tensor:
    """Rows of 128 bytes with their eight 16-byte units permuted, as in wgmma's 128-byte swizzle."""
    row = torch.arange(8, device=pieces.device)
    *outer, rows, columns = pieces.shape
    units = pieces.reshape(*outer, rows // 8, 8, 8, columns // 8)
    return units[..., row[:, None], row ^ row[:, None], :]


def _fragments(pieces: torch.Tensor) -> torch.Tensor:
    """Rows and columns in the order in which the lanes of a warp hold operand A of mma.m16n8k16.

    In tf32 it is m16n8k8, in fp8 m16n8k32.

    Lane 4g + t holds the rows g, g + 8 and the columns t, t + 4, counted in 32-bit words, as four
    consecutive words (PTX ISA, "Matrix Fragments for mma.m16n8k16").
    """
    *outer, rows, columns = pieces.shape
    elements = 4 // pieces.element_size()
    split = pieces.reshape(*outer, rows // 16, 2, 8, columns // (8 * elements), 2, 4, elements)
    first = len(outer)
    # (rows/16, half, g, columns/8, quad, t, element) -> (rows/16, columns/8, g, t, quad, half, element)
    order = [first + axis for axis in (0, 3, 2, 5, 4, 1, 6)]
    return split.permute(*range(first), *order)

"""The transforms in float64 and complex128, without the factors: the references of the cells of a suite.

`tests/kernels/transforms` compares them with whole matrices.
"""

from __future__ import annotations

from math import pi

import torch

from kswatch.kernels.problem import Layout


def exact_transform(name: str, x: torch.Tensor, layout: Layout) -> torch.Tensor:
    """The transform of a matrix of the layout, with x widened first; complex128 for `fft`, else float64.

    Args:
        name: `hadamard`, `fft`, `ifft` or `dct`.
        x: Of shape (batch, n), or (n, batch) in `batch_last`.
        layout: Of x and of the result.
    """
    rows = x if layout == "batch_first" else x.t()
    wide = rows.to(torch.complex128 if rows.is_complex() else torch.float64)
    y = _EXACT[name](wide)
    return y if layout == "batch_first" else y.t()


def _hadamard(x: torch.Tensor) -> torch.Tensor:
    """Sums and differences of neighbours, of pairs, of fours, ..."""
    batch, n = x.shape
    step = 1
    while step < n:
        first, second = x.view(batch, n // (2 * step), 2, step).unbind(2)
        x = torch.stack((first + second, first - second), 2).reshape(batch, n)
        step *= 2
    return x


def _cosine(x: torch.Tensor) -> torch.Tensor:
    """By a DFT of the numbers followed by themselves in reversed order."""
    n = x.shape[1]
    spectrum = torch.fft.rfft(torch.cat([x, x.flip(1)], 1))[:, :n]
    angles = -pi * torch.arange(n, dtype=torch.float64, device=x.device) / (2 * n)
    return (spectrum * torch.polar(torch.ones_like(angles), angles)).real


_EXACT = {"hadamard": _hadamard, "fft": torch.fft.fft, "ifft": torch.fft.ifft, "dct": _cosine}

"""The factors of the transforms, the orders in which they gather, and their whole matrices."""

from __future__ import annotations

from math import pi

import torch

from kswatch.kernels.families.transforms import radices

REAL, COMPLEX = torch.float64, torch.complex128
"""Of all that is returned here; a transform rounds it once."""


def hadamard_factors(n: int, largest: int) -> list[torch.Tensor]:
    """For each radix r the r x r block of 1 and -1, repeated along a and d: weights (a, r, r, d)."""
    found, d = [], 1
    for radix in radices(n, largest):
        block = hadamard_matrix(radix)
        found.append(block[None, :, :, None].repeat(n // (radix * d), 1, 1, d))
        d *= radix
    return found


def fourier_factors(n: int, largest: int) -> list[torch.Tensor]:
    """Decimation in time: radix r joins r transforms of length d, one after the other, to one of r·d.

    Output k·d + j is the sum over l of exp(-2πi l (k·d + j) / (r·d)) times number j of transform l.
    """
    found, d = [], 1
    for radix in radices(n, largest):
        length = radix * d
        outputs = torch.arange(length).view(radix, 1, d)
        turns = outputs * torch.arange(radix).view(1, radix, 1)
        weights = _roots(length)[turns % length]
        found.append(weights.repeat(n // length, 1, 1, 1))
        d = length
    return found


def digit_reversal(n: int, largest: int) -> torch.Tensor:
    """The input that each place of the first factor reads: digits of mixed radices in reversed order."""
    order = torch.zeros(1, dtype=torch.int64)
    for radix in radices(n, largest):
        order = (torch.arange(radix)[:, None] + radix * order).reshape(-1)
    return order


def folded_order(n: int) -> torch.Tensor:
    """The even inputs upwards, then the odd ones downwards: the first gather of a DCT by a DFT."""
    return torch.cat([torch.arange(0, n, 2), torch.arange(n - 1, 0, -2)])


def cosine_diagonal(n: int) -> torch.Tensor:
    """2 exp(-iπk / 2n): the real part of its product with the DFT of the folded input is the DCT-II."""
    return torch.polar(torch.full((n,), 2.0, dtype=REAL), -pi * torch.arange(n, dtype=REAL) / (2 * n))


def hadamard_matrix(n: int) -> torch.Tensor:
    """(n, n) in float64: -1 to the number of ones that i and j have in common, in binary."""
    common = torch.arange(n)[:, None] & torch.arange(n)[None, :]
    signs = torch.ones(n, n, dtype=REAL)
    for bit in range(n.bit_length() - 1):
        signs *= 1 - 2 * ((common >> bit) & 1)
    return signs


def fourier_matrix(n: int) -> torch.Tensor:
    """(n, n) in complex128: exp(-2πi jk / n)."""
    number = torch.arange(n)
    return _roots(n)[number[:, None] * number[None, :] % n]


def cosine_matrix(n: int) -> torch.Tensor:
    """(n, n) in float64: 2 cos(πk (2j + 1) / 2n), the DCT-II as scipy and FFTW scale it."""
    number = torch.arange(n)
    turns = number[:, None] * (2 * number[None, :] + 1) % (4 * n)
    return 2 * torch.cos(pi * torch.arange(4 * n, dtype=REAL) / (2 * n))[turns]


def _roots(n: int) -> torch.Tensor:
    """exp(-2πi k / n) for each k below n."""
    return torch.polar(torch.ones(n, dtype=REAL), -2 * pi * torch.arange(n, dtype=REAL) / n)

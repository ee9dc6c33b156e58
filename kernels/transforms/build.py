"""The transforms by name: `hadamard`, `fft`, `ifft` and `dct`."""

from __future__ import annotations

import torch

from kswatch.errors import UsageError
from kswatch.kernels.families.transforms import LARGEST_RADIX, check_length, check_radix
from kswatch.kernels.layer.algorithm_choice import AUTO
from kswatch.kernels.problem import Layout
from kswatch.kernels.transforms.factors import (
    cosine_diagonal,
    digit_reversal,
    folded_order,
    fourier_factors,
    hadamard_factors,
)
from kswatch.kernels.transforms.transform import PRECISION_OF, Steps, Transform


def hadamard(
    n: int,
    dtype: torch.dtype = torch.float32,
    algorithm: str = AUTO,
    layout: Layout = "batch_first",
    device: torch.device | str | None = None,
    radix: int = LARGEST_RADIX,
) -> Transform:
    """The Hadamard transform in Sylvester's order, not scaled: twice, it multiplies by n.

    Args:
        n: A power of two, 2 or more.
        dtype: One of the precisions' dtypes.
        algorithm: As in `Transform`.
        layout: As in `Transform`.
        device: Of the factors.
        radix: The largest block, a power of two: smaller ones multiply less in more passes.

    Raises:
        UsageError: n or the radix is no power of two, or the dtype has no precision.
    """
    check_length("hadamard", n)
    if dtype not in PRECISION_OF:
        raise UsageError(f"hadamard computes in {', '.join(map(str, PRECISION_OF))}, not in {dtype}")
    steps = Steps("hadamard", None, hadamard_factors(n, check_radix(radix)))
    return Transform(steps, dtype, algorithm, layout, device)


def fft(
    n: int,
    algorithm: str = AUTO,
    layout: Layout = "batch_first",
    device: torch.device | str | None = None,
    radix: int = LARGEST_RADIX,
) -> Transform:
    """The discrete Fourier transform in complex64, scaled as `torch.fft.fft` by default.

    Args:
        n: A power of two, 2 or more.
        algorithm: As in `Transform`.
        layout: As in `Transform`.
        device: Of the factors.
        radix: As in `hadamard`.

    Raises:
        UsageError: n or the radix is no power of two.
    """
    check_length("fft", n)
    check_radix(radix)
    steps = Steps("fft", digit_reversal(n, radix), fourier_factors(n, radix))
    return Transform(steps, torch.complex64, algorithm, layout, device)


def ifft(
    n: int,
    algorithm: str = AUTO,
    layout: Layout = "batch_first",
    device: torch.device | str | None = None,
    radix: int = LARGEST_RADIX,
) -> Transform:
    """The inverse of `fft`, with its arguments and errors."""
    check_length("ifft", n)
    check_radix(radix)
    *others, last = [factor.conj().resolve_conj() for factor in fourier_factors(n, radix)]
    steps = Steps("ifft", digit_reversal(n, radix), [*others, last / n])
    return Transform(steps, torch.complex64, algorithm, layout, device)


def dct(
    n: int,
    algorithm: str = AUTO,
    layout: Layout = "batch_first",
    device: torch.device | str | None = None,
    radix: int = LARGEST_RADIX,
) -> Transform:
    """DCT-II of float32, 2 Σ x_j cos(πk (2j + 1) / 2n), which is scipy's default; arguments as in `fft`.

    Two gathers are one, and the diagonal is a part of the left-most factor: its output k is row k.

    Raises:
        UsageError: n or the radix is no power of two.
    """
    check_length("dct", n)
    order = folded_order(n)[digit_reversal(n, check_radix(radix))]
    *others, last = fourier_factors(n, radix)
    diagonal = cosine_diagonal(n).view(1, last.shape[1], 1, last.shape[3])
    steps = Steps("dct", order, [*others, last * diagonal], has_real_output=True)
    return Transform(steps, torch.complex64, algorithm, layout, device)

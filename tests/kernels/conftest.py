"""The reference of these tests: K as a dense matrix from its definition, with bounds for rounding errors."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from kswatch.kernels.reference import exact_dtype

UNIT_ROUNDOFF = {torch.float32: 2**-24, torch.float16: 2**-11, torch.bfloat16: 2**-8}
UNIT_ROUNDOFF |= {torch.float64: 2**-53, torch.complex64: 2**-24}


def dense_matrix(weights: torch.Tensor) -> torch.Tensor:
    """K[(i, k, j), (i, l, j)] = W[i, k, l, j] in float64 or complex128, one weight at a time."""
    a, b, c, d = weights.shape
    wide = weights.detach().to(exact_dtype(weights)).numpy()
    matrix = np.zeros((a * b * d, a * c * d), dtype=wide.dtype)
    for (i, k, l, j), weight in np.ndenumerate(wide):  # noqa: E741
        matrix[i * b * d + k * d + j, i * c * d + l * d + j] = weight
    return torch.from_numpy(matrix)


def assert_product(y: torch.Tensor, weights: torch.Tensor, x: torch.Tensor, layout: str) -> None:
    """Check each element of Y against K times X, up to float32 sums of c terms and one rounding.

    Complex sums have two terms for each of c; in float64 K times X errs as well.
    """
    matrix = dense_matrix(weights)
    wide = x.to(matrix.dtype)
    columns = wide if layout == "batch_last" else wide.t()
    truth, magnitude = matrix @ columns, matrix.abs() @ columns.abs()
    if layout == "batch_first":
        truth, magnitude = truth.t(), magnitude.t()
    terms = (2 if x.is_complex() else 1) * weights.shape[2] + 1
    of_sums = 2**-52 if y.dtype == torch.float64 else 2**-24
    allowed = (
        terms * of_sums * magnitude
        + 1.01 * UNIT_ROUNDOFF[y.dtype] * truth.abs()
        + 1e-7 * (y.dtype == torch.float16)
    )
    assert y.shape == truth.shape
    assert y.is_contiguous()
    assert bool(((y.to(truth.dtype) - truth).abs() <= allowed).all())


@pytest.fixture(name="dense_matrix", scope="session")
def _dense_matrix() -> Callable[[torch.Tensor], torch.Tensor]:
    return dense_matrix


@pytest.fixture(name="assert_product", scope="session")
def _assert_product() -> Callable[..., None]:
    return assert_product


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread: on a busy machine tiny products would wait for a second thread at barriers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

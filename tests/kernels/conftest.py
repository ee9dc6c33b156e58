"""The reference of these tests: K as a dense matrix from its definition, with bounds for rounding errors."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

UNIT_ROUNDOFF = {torch.float32: 2**-24, torch.float16: 2**-11, torch.bfloat16: 2**-8}


def dense_matrix(weights: torch.Tensor) -> torch.Tensor:
    """K[(i, k, j), (i, l, j)] = W[i, k, l, j] in float64, one weight at a time."""
    a, b, c, d = weights.shape
    matrix = np.zeros((a * b * d, a * c * d))
    for (i, k, l, j), weight in np.ndenumerate(weights.detach().double().numpy()):  # noqa: E741
        matrix[i * b * d + k * d + j, i * c * d + l * d + j] = weight
    return torch.from_numpy(matrix)


def assert_product(y: torch.Tensor, weights: torch.Tensor, x: torch.Tensor, layout: str) -> None:
    """Check each element of Y against K times X, up to float32 sums of c terms and one rounding."""
    matrix = dense_matrix(weights)
    columns = x.double() if layout == "batch_last" else x.double().t()
    truth, magnitude = matrix @ columns, matrix.abs() @ columns.abs()
    if layout == "batch_first":
        truth, magnitude = truth.t(), magnitude.t()
    terms = weights.shape[2] + 1
    allowed = (
        terms * 2**-24 * magnitude
        + 1.01 * UNIT_ROUNDOFF[y.dtype] * truth.abs()
        + 1e-7 * (y.dtype == torch.float16)
    )
    assert y.shape == truth.shape
    assert y.is_contiguous()
    assert bool(((y.double() - truth).abs() <= allowed).all())


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

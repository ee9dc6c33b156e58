"""Skips what has no compiler here, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts.host_compiler import find_compiler
from kswatch.kernels.fused.cuda.nvcc import find_nvcc
from tests.kernels.ptx.programs import NO_NVCC


@pytest.fixture(scope="session", autouse=True)
def host_compiler() -> None:
    try:
        find_compiler()
    except UnsupportedError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def nvcc() -> None:
    if find_nvcc() is None:
        pytest.skip(NO_NVCC)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A second thread of torch would only wait for tiny products."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

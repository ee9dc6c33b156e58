"""Skips what has no compiler here, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts.host_compiler import find_compiler
from kswatch.kernels.fused.cuda.nvcc import find_nvcc
from tests.kernels.ptx.programs import NO_NVCC

FOLDER = Path(__file__).parent
BUILD_TIMEOUT_S = 900
"""The first test waits for the interpreter's build: 10 s on an idle machine, minutes on a busy one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of this folder the time of a build, unless it has a limit of its own."""
    for item in items:
        if item.path.is_relative_to(FOLDER) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(BUILD_TIMEOUT_S))


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

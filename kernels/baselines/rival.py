"""The base class of the rivals: baselines of libraries that an expert would reach for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import ClassVar

import torch

from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.baselines.base import Baseline
from kswatch.kernels.baselines.rival_libraries import missing_libraries, rival_versions
from kswatch.kernels.implementation import STORAGE_DTYPES, Product
from kswatch.kernels.problem import Problem

TRIALS = 5
TRIAL_S = 5e-3
"""A trial lasts about this long, or one call."""


class Rival(Baseline):
    """A baseline beyond stock torch; unsupported, with the command that installs it, where it is missing."""

    label: ClassVar[str]
    """The library's name in sentences."""

    def unsupported(self, problem: Problem, device: torch.device) -> str | None:
        """See `Baseline`, after whether its libraries are there."""
        if reason := missing_libraries(self.name, device.type):
            return reason if reason.startswith("not installed") else f"{self.label} {reason}"
        self.library = ", ".join(
            f"{name} {version}" for name, version in rival_versions(device.type)[self.name].items()
        )
        return super().unsupported(problem, device)

    def limitation(self, problem: Problem) -> str | None:
        """See `Baseline`; wider precisions are left to libraries that were tried in them."""
        if problem.precision in SUITE_PRECISIONS:
            return None
        return f"{self.label} is compared in {', '.join(SUITE_PRECISIONS)}, not in {problem.precision}"


def quickest(products: Mapping[str, Product], x: torch.Tensor) -> str:
    """The name of the product with the shortest call: the least mean of several short trials, taken in turn.

    Runs at prepare time, on the threads or the stream of its caller.
    """
    if len(products) == 1:
        return next(iter(products))
    for product in products.values():
        product(x)  # the first call may compile
    least = {name: _call_s(product, x, 1) for name, product in products.items()}
    calls = {name: max(1, round(TRIAL_S / call_s)) for name, call_s in least.items()}
    for _ in range(TRIALS):
        for name, product in products.items():
            least[name] = min(least[name], _call_s(product, x, calls[name]))
    return min(least, key=lambda name: least[name])


def sample_input(problem: Problem, device: torch.device) -> torch.Tensor:
    """An input of the problem to choose by: N(0, 1), always the same."""
    generator = torch.Generator(device).manual_seed(0)
    shape, dtype = problem.input_shape, STORAGE_DTYPES[problem.precision]
    return torch.randn(shape, generator=generator, dtype=dtype, device=device)


def _call_s(product: Product, x: torch.Tensor, calls: int) -> float:
    """Mean seconds of some calls, until the device has finished them."""
    _finish(x)
    begin_s = time.perf_counter()
    for _ in range(calls):
        product(x)
    _finish(x)
    return (time.perf_counter() - begin_s) / calls


def _finish(x: torch.Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)

"""The implementation that a layer uses: named, predicted (`auto`) or timed (`measure`)."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial
from itertools import islice

import torch

from kswatch.declared.implementations import FUSED_CHAIN
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.heuristics.learned import SMALL_WEIGHTS, ranked
from kswatch.kernels.implementation import STORAGE_DTYPES, Implementation, Product
from kswatch.kernels.problem import Problem

AUTO, MEASURE = "auto", "measure"
LAYER_ALGORITHMS = (AUTO, MEASURE, FUSED_CHAIN)
"""Algorithms of a layer that are no implementation of a product. `fused_chain` is `fused` for each factor,
two of them in one pass where that is possible."""

CANDIDATES_TIMED = 2
"""Number of ranked implementations that `measure` times."""
REPETITIONS = 7
_measured_choices: dict[tuple[Problem, torch.device], str] = {}
_predicted_choices: dict[tuple[Problem, torch.device], str] = {}


def choose(algorithm: str, problem: Problem, device: torch.device, weights: torch.Tensor) -> Implementation:
    """The implementation to prepare; `auto` and `measure` decide once for all batches of a bucket.

    The first batch of a bucket decides. `measure` launches the two best ranked implementations a few times,
    so its first call must not be inside the capture of a CUDA graph.

    Raises:
        UsageError: there is no such algorithm.
    """
    if algorithm not in (AUTO, MEASURE):
        return implementation("fused" if algorithm == FUSED_CHAIN else algorithm)
    choices = _predicted_choices if algorithm == AUTO else _measured_choices
    key = (replace(problem, batch=batch_bucket(problem.batch)), device)
    name = choices.get(key)
    if name is None or implementation(name).unsupported(problem, device):
        name = _fastest(problem, device, weights) if algorithm == MEASURE else _predicted(problem, device)
        choices[key] = name
    return implementation(name)


def batch_bucket(batch: int) -> int:
    """The largest batch of the bucket: the next power of two."""
    return 1 << (batch - 1).bit_length()


def _predicted(problem: Problem, device: torch.device) -> str:
    is_small = device.type == "cpu" and problem.pattern.nonzeros <= SMALL_WEIGHTS
    if is_small and not implementation("fused").unsupported(problem, device):
        return "fused"
    return next(iter(_supported(problem, device)), "bmm")


def _supported(problem: Problem, device: torch.device) -> Iterable[str]:
    names = ranked(problem, _facts(device))
    return (name for name in names if not implementation(name).unsupported(problem, device))


@cache
def _facts(device: torch.device) -> dict[str, object]:
    if device.type != "cuda":
        return {"kind": "cpu", "model": platform.processor() or "cpu"}
    return {"kind": "cuda", "model": torch.cuda.get_device_name(device)}


def _fastest(problem: Problem, device: torch.device, weights: torch.Tensor) -> str:
    names = list(islice(_supported(problem, device), CANDIDATES_TIMED))
    if len(names) < 2:
        return names[0] if names else "bmm"
    x = torch.randn(problem.input_shape, device=device).to(STORAGE_DTYPES[problem.precision])
    products = {name: implementation(name).prepare(problem, weights) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    with torch.no_grad():
        for repetition in range(REPETITIONS + 1):
            for name, product in products.items():
                seconds = _seconds(product, x)
                if repetition:  # the first is warm-up
                    times[name].append(seconds)
    return min(names, key=lambda name: statistics.median(times[name]))


def _seconds(product: Product, x: torch.Tensor) -> float:
    """The time of one product, until the device has finished it."""
    synchronize = partial(torch.cuda.synchronize, x.device) if x.is_cuda else lambda: None
    synchronize()
    start = time.perf_counter()
    product(x)
    synchronize()
    return time.perf_counter() - start

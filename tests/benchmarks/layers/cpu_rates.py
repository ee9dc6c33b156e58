"""Rates of one thread of this CPU in fp32: registers alone, the twin's product, a library's product.

    python -m tests.benchmarks.layers.cpu_rates
    MKL_ENABLE_INSTRUCTIONS=AVX2 python -m tests.benchmarks.layers.cpu_rates   # as on CPUs of other makers

Thread CPU time, the best of interleaved rounds: a rate is a property of the machine when nothing disturbs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import make_operands

PROBLEM = Problem(Pattern(1, 1024, 1024, 1), 1024, "fp32", "batch_first")
STEPS = 1 << 22
ROUNDS = 15


def main() -> None:
    """Print GFLOP/s of each."""
    torch.set_num_threads(1)
    weights, x = make_operands(PROBLEM, torch.device("cpu"), seed=1)
    product, matrix = twin.prepare(PROBLEM, weights), weights[0, :, :, 0].t().contiguous()
    calls: dict[str, tuple[Callable[[], object], float]] = {
        "registers": (lambda: twin.multiply_in_registers(STEPS), twin.multiply_in_registers(STEPS)),
        "twin": (lambda: product(x), PROBLEM.flops),
        "library": (lambda: x @ matrix, PROBLEM.flops),
    }
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, (call, _) in calls.items():
            started = time.thread_time()
            call()
            best[name] = min(best[name], time.thread_time() - started)
    for name, (_, operations) in calls.items():
        print(f"{name:<10} {operations / best[name] / 1e9:6.1f} GFLOP/s")


if __name__ == "__main__":
    main()

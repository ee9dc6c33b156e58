"""The process that ncu profiles: sets up one product and exposes one launch of it."""

from __future__ import annotations

import sys

import torch

from kswatch.db.request_queue.confirmation import parse_problem
from kswatch.kernels import catalogue
from kswatch.profiler.backends.workload import TorchWorkload
from kswatch.profiler.empty_records import product_of
from kswatch.profiler.probes.timing_cuda import flush_by_torch

LAUNCHES_BEFORE = 3


def main() -> None:
    """Launch a product between the profiler's start and stop; arguments: problem, implementation, seed."""
    problem, implementation, seed = sys.argv[1:]
    device = torch.device("cuda", 0)
    workload = TorchWorkload(product_of(parse_problem(problem)), device, int(seed))
    launchable = workload.prepare(catalogue.implementation(implementation))
    flush = flush_by_torch(device, torch.cuda.get_device_properties(device).L2_cache_size)
    for turn in range(LAUNCHES_BEFORE):
        launchable.launch(turn)
    flush()
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    launchable.launch(LAUNCHES_BEFORE)
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()
    workload.close()


if __name__ == "__main__":
    main()

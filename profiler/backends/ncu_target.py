"""The process that ncu watches: sets one product up, and lets it see one launch of it."""

from __future__ import annotations

import json
import sys

import torch

from kswatch.kernels import catalogue
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.backends.workload import TorchStage
from kswatch.profiler.probes.ncu import CounterTask
from kswatch.profiler.probes.timing_cuda import flush_by_torch

LAUNCHES_BEFORE = 3


def main() -> None:
    """Launch the product of the task in the first argument, in between the profiler's start and stop."""
    task = CounterTask(**json.loads(sys.argv[1]))
    problem = Problem(Pattern(*task.pattern), task.batch, task.precision, task.layout)  # type: ignore[arg-type]
    device = torch.device("cuda", 0)
    stage = TorchStage(problem, device, task.seed)
    work = stage.prepare(catalogue.implementation(task.implementation))
    flush = flush_by_torch(device, torch.cuda.get_device_properties(device).L2_cache_size)
    for turn in range(LAUNCHES_BEFORE):
        work.launch(turn)
    flush()
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    work.launch(LAUNCHES_BEFORE)
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()
    stage.close()


if __name__ == "__main__":
    main()

"""Two gloo processes train the layer as they train plain torch with the same weights.

`python -m tests.kernels.layer.test_distributed RANK FILE` is one of the processes; it prints its results as
one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from kswatch.kernels import KSLinear
from tests.kernels.layer.conftest import by_einsum

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(
    not (dist.is_available() and dist.is_gloo_available()),
    reason="torch has no gloo",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[list[float]]]]:
    """Of each process: for each case, the numbers of KSLinear and those of plain torch."""
    file = tmp_path_factory.mktemp("gloo") / "rendezvous"
    command = [sys.executable, "-m", "tests.kernels.layer.test_distributed"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(file)],
            cwd=ROOT,
            env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=900) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-2000:]
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


@pytest.mark.parametrize("case", ["with_zero", "with_fsdp", "with_collectives"])
def test_both_processes_get_the_numbers_of_plain_torch(case: str, results) -> None:
    for process in results:
        ours, plain = process[case]
        assert ours == pytest.approx(plain, rel=1e-3)
        assert len(set(ours)) == len(ours)


# ---- one of the processes -------------------------------------------------------------------------

CHAIN = [(2, 4, 4, 2), (1, 8, 16, 1)]
STEPS = 4


class Plain(nn.Module):
    """The same parameters under the same names, by plain torch."""

    def __init__(self) -> None:
        super().__init__()
        made = KSLinear(CHAIN)
        self.factors, self.bias, self.layout = made.factors, made.bias, made.layout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return by_einsum(self, x)  # type: ignore[arg-type]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


def losses(model: nn.Module, optimiser: torch.optim.Optimizer, rank: int) -> list[float]:
    """Of training steps with an evaluation after each."""
    generator = torch.Generator().manual_seed(rank)
    found = []
    for _ in range(STEPS):
        x, target = torch.randn(6, 16, generator=generator), torch.randn(6, 8, generator=generator)
        optimiser.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            found += [loss.item(), (model(x) - target).square().mean().item()]
    return found


def with_zero(make: Callable[[], nn.Module], rank: int) -> list[float]:
    """Data parallel, optimiser state sharded: the other process's updates arrive by broadcast."""
    from torch.distributed.optim import ZeroRedundancyOptimizer
    from torch.nn.parallel import DistributedDataParallel

    model = DistributedDataParallel(seeded(make))
    optimiser = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=1e-2)
    return losses(model, optimiser, rank)


def with_fsdp(make: Callable[[], nn.Module], rank: int) -> list[float]:
    """Sharded parameters, gathered before each forward into memory that is used again."""
    from torch.distributed.fsdp import fully_shard

    model = nn.Sequential(seeded(make))
    fully_shard(model[0])
    fully_shard(model)
    return losses(model, torch.optim.AdamW(model.parameters(), lr=1e-2, fused=False), rank)


def with_collectives(make: Callable[[], nn.Module], rank: int) -> list[float]:
    """Collectives on the parameters themselves, after an inference."""
    torch.manual_seed(rank)
    model, x, found = make(), torch.ones(3, 16), []
    for change in (dist.broadcast, dist.all_reduce):
        with torch.no_grad():
            model(x)
            model(x)
            for parameter in model.parameters():
                change(parameter.data, 0) if change is dist.broadcast else change(parameter.data)
            found.append(model(x).sum().item())
    return found


def main() -> None:
    rank, file = int(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    limit = timedelta(seconds=600)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2, timeout=limit)
    results = {}
    for case in (with_zero, with_fsdp, with_collectives):
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "error", "Grad strides"
            )  # of gradients with other strides than the weight's
            ours = case(lambda: KSLinear(CHAIN), rank)
        results[case.__name__] = [ours, case(Plain, rank)]
    dist.destroy_process_group()
    print(json.dumps(results), flush=True)
    # Gloo's threads may still release tensors that Python holds; while the interpreter shuts down, that
    # aborts the process (pytorch/pytorch#179291). Nothing is left to clean up.
    os._exit(0)


if __name__ == "__main__":
    main()

"""Two gloo processes train the layer as they train plain torch with the same weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="torch has no gloo",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[list[float]]]]:
    """Of each process: for each case, the numbers of KSLinear and those of plain torch."""
    file = tmp_path_factory.mktemp("gloo") / "rendezvous"
    command = [sys.executable, "-m", "tests.kernels.layer.distributed_cases"]
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

"""Checks the warpgroup tiles (wgmma, TMA) on the GPU at hand, so that they may be chosen there.

    python -m kswatch.kernels.fused.cuda_checks.trust

Each tile computes in a child process that a faulty kernel may crash or hang; the results are kept beside
the compiled kernels (`kswatch.kernels.fused.cuda.trust_record`). Every other family is tested on the CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import torch

from kswatch.errors import KswatchError
from kswatch.kernels.fused.cuda import driver, trust_record
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda_checks.trials import compute_and_check
from kswatch.kernels.problem import Problem

CHILD = (sys.executable, "-m", "kswatch.kernels.fused.cuda_checks.trust", "--here")
STALL_TIMEOUT_S = 60
"""A tile that takes longer counts as hung."""
UNFINISHED = "the check did not finish"


def check_untested(device: torch.device) -> bool:
    """Compute with all tiles that have no result yet; True if there were any.

    Each group is first recorded as unfinished, in case its check crashes or hangs this process.
    """
    results = trust_record.read_results(device)
    untested = {
        group: pairs
        for group, pairs in trust_record.checks_by_group(driver.gpu_properties(device)).items()
        if group not in results
    }
    for group, pairs in untested.items():
        trust_record.write_result(device, group, UNFINISHED)
        try:
            reason = next(_failures(pairs, device), None)
        except Exception as error:  # the driver's, after which the process has no GPU
            trust_record.write_result(device, group, str(error).split("\n", 1)[0])
            raise
        trust_record.write_result(device, group, reason)
        print(f"{group}: {reason or 'right'}", file=sys.stderr, flush=True)
    return bool(untested)


def _failures(pairs: Sequence[tuple[Problem, Tile]], device: torch.device) -> Iterator[str]:
    """A sentence for each product that fails or is wrong."""
    for problem, tile in pairs:
        try:
            reason = compute_and_check(problem, tile, device, with_bias=False).reason
        except KswatchError as error:
            reason = str(error)
        if reason:
            yield f"{problem}: {reason}"


def main(device: torch.device, child: Sequence[str] = CHILD, stall_timeout_s: float = STALL_TIMEOUT_S) -> int:
    """Check every tile again, in a new child process after each failure; 0 if all are correct."""
    groups = list(trust_record.checks_by_group(driver.gpu_properties(device)))
    if not groups:
        print("no wgmma on this GPU", file=sys.stderr)
        return 1
    trust_record.record_path(device).unlink(missing_ok=True)
    while (before := len(trust_record.read_results(device))) < len(groups):
        wait_while_progressing(subprocess.Popen(child), device, stall_timeout_s)
        if len(trust_record.read_results(device)) == before:
            print("the child process ends before it has checked a tile", file=sys.stderr)
            return 1
    return int(any(trust_record.read_results(device).values()))


def wait_while_progressing(
    child: subprocess.Popen[bytes], device: torch.device, stall_timeout_s: float
) -> None:
    """Wait for a child process; kill it after `stall_timeout_s` without a new result."""
    while child.poll() is None:
        before = trust_record.read_results(device)
        try:
            child.wait(stall_timeout_s)
        except subprocess.TimeoutExpired:
            if trust_record.read_results(device) == before:
                child.kill()
                child.wait()


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("no NVIDIA GPU: nothing was checked")
    here = torch.device("cuda", torch.cuda.current_device())
    if "--here" in sys.argv[1:]:
        check_untested(here)
        sys.stdout.flush()
        os._exit(0)  # a broken context is no reason to fail at exit
    sys.exit(main(here))

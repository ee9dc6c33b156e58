"""Which kernel families may be chosen on a GPU: those that tests run on the CPU, and those checked there.

wgmma and TMA are not emulated, so that their family is right only where it was seen to be:
`python -m kernels.fused.trust` computes with it on the GPU at hand, in a process of its own, since a
kernel that is wrong may take the process with it, and remembers what it saw beside the cubins.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import torch

from kernels.fused import driver, tiles
from kernels.fused.compile import source_key
from kernels.fused.twin_build import cache_folder
from kernels.pattern import Pattern
from kernels.problem import LAYOUTS, Problem
from kernels.reference import check, make_operands, reference

COMMAND = "python -m kernels.fused.trust"
PROBLEMS = tuple(
    Problem(Pattern(*pattern), batch, precision, layout)
    for layout in LAYOUTS
    for pattern in ((2, 72, 200, 1 if layout == "batch_first" else 3), (1, 256, 512, 1))
    for batch in (72, 4096)
    for precision in ("fp16", "bf16")
)
"""Tails on every axis, and steps enough for every stage to be used again."""


def untrusted(device: torch.device) -> str | None:
    """Why wgmma is not chosen on this GPU, as a sentence; None where it was seen to be right."""
    try:
        seen = json.loads(record(device).read_text())
    except (OSError, ValueError):
        return f"wgmma was never checked on this GPU; run `{COMMAND}` once"
    return None if seen["right"] else f"wgmma was wrong on this GPU: {seen['reason']}"


@cache
def record(device: torch.device) -> Path:
    """Where it is remembered: by the kernel's source and the GPU."""
    tile = tiles.by_warpgroups(PROBLEMS[0], driver.machine(device))
    key = source_key(tile, tiles.HOPPER) if tile else "none"
    return cache_folder() / f"trusted-{key}-{torch.cuda.get_device_properties(device).uuid}.json"


def main(device: torch.device) -> int:
    """Computes all of `PROBLEMS` by wgmma, and remembers whether all were right; 0 if so.

    Before the first it remembers that it did not come back, in case that it does not.
    """
    from kernels.fused.launch import launcher  # which asks us whom to trust

    remember(device, False, "the check did not come to its end")
    for problem in PROBLEMS:
        tile = tiles.by_warpgroups(problem, driver.machine(device))
        if tile is None:
            print(f"{problem}: no wgmma on this GPU", file=sys.stderr)
            return 1
        weights, x = make_operands(problem, device, seed=1)
        product = launcher(problem, weights, None, tile)
        y = product(x, empty=lambda *size, **options: torch.empty(*size, **options).fill_(torch.nan))
        torch.cuda.synchronize(device)
        answer = check(problem, y, reference(problem, weights, x))
        print(f"{problem}: {answer.reason or 'right'}", file=sys.stderr)
        if not answer.ok:
            remember(device, False, f"{problem}: {answer.reason}")
            return 1
    remember(device, True, None)
    return 0


def remember(device: torch.device, right: bool, reason: str | None) -> None:
    """Write what was seen."""
    path = record(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"right": right, "reason": reason}))


if __name__ == "__main__":
    sys.exit(main(torch.device("cuda", torch.cuda.current_device())))

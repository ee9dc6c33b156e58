"""Which kernel families may be chosen on a GPU: those that tests run on the CPU, and those checked there.

wgmma and TMA are not emulated, so that their family is right only where it was seen to be:
`python -m kswatch.kernels.fused.cuda_checks.trust` computes with each of its tiles on the GPU at hand, in a process that a
wrong kernel may take along or stop for good, and remembers what it saw beside the cubins.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import torch

from kswatch.errors import KswatchError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.cuda import driver
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.compile import source_key
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem
from kswatch.kernels.reference import check, make_operands, reference

COMMAND = "python -m kswatch.kernels.fused.cuda_checks.trust"
CHILD = (sys.executable, "-m", "kswatch.kernels.fused.cuda_checks.trust", "--here")
SILENT_S = 60
"""A tile that takes longer does not come to its end."""
BEGUN = "the check did not come to its end"

PROBLEMS = tuple(
    Problem(Pattern(*pattern), batch, precision, layout)
    for layout in LAYOUTS
    for pattern in ((3, 64, 64, 1), (2, 72, 200, 1 if layout == "batch_first" else 3), (1, 256, 512, 1))
    for batch in (72, 4096)
    for precision in ("fp16", "bf16", "tf32")
)
"""Tails on every axis, one step of c, and steps enough for every stage to be used again."""


def untrusted(device: torch.device, tile: Tile) -> str | None:
    """Why a tile of wgmma is not chosen on this GPU, as a sentence; None where it was seen to be right."""
    seen = _seen(device)
    if name(tile) not in seen:
        return f"wgmma was never checked on this GPU; run `{COMMAND}` once"
    reason = seen[name(tile)]
    return f"wgmma was wrong on this GPU: {reason}" if reason else None


def name(tile: Tile) -> str:
    """What is trusted together, whatever the number of stages and the width of accesses."""
    return f"{tile.precision} {tile.layout} {tile.rows}x{tile.batch}"


def wanted(machine: Machine) -> dict[str, list[tuple[Problem, Tile]]]:
    """By name of tiles, what is computed with them; empty where there is no wgmma."""
    pairs: dict[str, list[tuple[Problem, Tile]]] = {}
    for problem in PROBLEMS:
        for tile in tiles.of_warpgroups(problem, machine):
            pairs.setdefault(name(tile), []).append((problem, tile))
    return pairs


@cache
def record(device: torch.device) -> Path:
    """Where it is remembered: by the kernels' sources and the GPU."""
    pairs = [pair for several in wanted(driver.machine(device)).values() for pair in several]
    keys = sorted({source_key(tile, tiles.HOPPER) for _, tile in pairs})
    key = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
    return cache_folder() / f"trusted-{key}-{torch.cuda.get_device_properties(device).uuid}.json"


def _seen(device: torch.device) -> dict[str, str | None]:
    """Reason by name of tiles; None for what was right."""
    try:
        return dict(json.loads(record(device).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def remember(device: torch.device, names: str, reason: str | None) -> None:
    """Write what was seen."""
    path = record(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    writing = path.with_suffix(".writing")
    writing.write_text(json.dumps({**_seen(device), names: reason}))
    writing.replace(path)


def examine(device: torch.device) -> bool:
    """Computes with all tiles of which nothing is remembered yet; whether there were any.

    Before each it remembers that it did not come back, in case that it does not.
    """
    waiting = {
        names: pairs for names, pairs in wanted(driver.machine(device)).items() if names not in _seen(device)
    }
    for names, pairs in waiting.items():
        remember(device, names, BEGUN)
        try:
            remember(device, names, next(_faults(pairs, device), None))
        except Exception as error:  # the driver's, after which the process has no GPU
            remember(device, names, str(error).split("\n", 1)[0])
            raise
        print(f"{names}: {_seen(device)[names] or 'right'}", file=sys.stderr, flush=True)
    return bool(waiting)


def _faults(pairs: Sequence[tuple[Problem, Tile]], device: torch.device) -> Iterator[str]:
    """What is wrong with tiles, as sentences."""
    from kswatch.kernels.fused.cuda.launch import launcher  # which asks us whom to trust

    for problem, tile in pairs:
        weights, x = make_operands(problem, device, seed=1)
        try:
            product = launcher(problem, weights, None, tile)
            y = product(x, empty=lambda *size, **options: torch.empty(*size, **options).fill_(torch.nan))
            torch.cuda.synchronize(device)
        except KswatchError as error:
            yield f"{problem}: {error}"
            continue
        answer = check(problem, y, reference(problem, weights, x))
        if not answer.ok:
            yield f"{problem}: {answer.reason}"


def main(device: torch.device, child: Sequence[str] = CHILD, silent_s: float = SILENT_S) -> int:
    """Has every tile examined anew, by a new process after each that fails; 0 if all were right."""
    names = list(wanted(driver.machine(device)))
    if not names:
        print("no wgmma on this GPU", file=sys.stderr)
        return 1
    record(device).unlink(missing_ok=True)
    while len(_seen(device)) < len(names):
        before = len(_seen(device))
        watch(subprocess.Popen(child), device, silent_s)
        if len(_seen(device)) == before:
            print("the process that examines tiles does not come so far", file=sys.stderr)
            return 1
    return int(any(_seen(device).values()))


def watch(examining: subprocess.Popen[bytes], device: torch.device, silent_s: float) -> None:
    """Waits for a process that examines; ends it once it remembers nothing new for so long."""
    while examining.poll() is None:
        before = _seen(device)
        try:
            examining.wait(silent_s)
        except subprocess.TimeoutExpired:
            if _seen(device) == before:
                examining.kill()
                examining.wait()


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("no NVIDIA GPU: nothing was checked")
    here = torch.device("cuda", torch.cuda.current_device())
    if "--here" in sys.argv[1:]:
        examine(here)
        sys.stdout.flush()
        os._exit(0)  # a broken context is no reason to fail at exit
    sys.exit(main(here))

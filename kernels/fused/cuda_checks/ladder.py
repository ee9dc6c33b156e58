"""The ladder of the kernel's versions: what each should take, by the model. KERNEL_LOG.md keeps it.

`python -m kswatch.kernels.fused.cuda_checks.ladder` prints the table of that file; with `--measure FILE`, on a GPU, it times
the best tile of each version by the model, cold, and writes what was predicted beside what was measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from kswatch.errors import KswatchError
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda.tile_candidates import (
    BATCHES,
    ROWS,
    assemble,
    candidates,
    groupings,
    with_vectors,
)
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

H200 = Machine(90, 132)
CLOCK_HZ = 1.7e9
"""Under load, supposed."""
COPY_BYTES_PER_S = 4.3e12
"""Measured on one H200."""

PROBLEMS = (
    Problem(Pattern(6, 64, 64, 1), 25_088, "fp16", "batch_last"),
    Problem(Pattern(1, 1024, 1024, 1), 25_088, "fp16", "batch_first"),
    Problem(Pattern(1, 1024, 1024, 1), 25_088, "tf32", "batch_first"),
    Problem(Pattern(1, 128, 128, 3), 25_088, "fp16", "batch_first"),
    Problem(Pattern(6, 64, 64, 16), 25_088, "fp16", "batch_first"),
    Problem(Pattern(6, 64, 64, 16), 25_088, "fp16", "batch_last"),
    Problem(Pattern(1, 256, 1024, 1), 16, "fp16", "batch_last"),
    Problem(Pattern(1, 192, 192, 4), 25_088, "fp32", "batch_last"),
    Problem(Pattern(6, 64, 64, 16), 25_088, "fp32", "batch_first"),
)

VERSIONS: tuple[tuple[str, Callable[[Tile], bool]], ...] = (
    ("CUDA cores", lambda tile: not tile.walkers and tile.parts == 1 and tile.family == "cores"),
    ("tensor cores", lambda tile: not tile.walkers and tile.parts == 1 and tile.family != "warpgroups"),
    ("parts of c", lambda tile: not tile.walkers and tile.family != "warpgroups"),
    ("walkers", lambda tile: tile.family != "warpgroups"),
    ("wgmma, TMA", lambda tile: True),
)
"""Each has what those before it have."""

NOT_MEASURED = "not yet, no GPU"


def predicted_ms(problem: Problem, tile: Tile) -> float:
    """By the model, and never under the time that the compulsory bytes take."""
    return max(1e3 * cycles(problem, tile, H200) / CLOCK_HZ, floor_ms(problem))


def floor_ms(problem: Problem) -> float:
    """Of the compulsory bytes alone."""
    return 1e3 * problem.compulsory_bytes / COPY_BYTES_PER_S


def every_tile(problem: Problem) -> Iterator[Tile]:
    """Those that are chosen from, and those of the CUDA cores that 16 bits have left behind."""
    yield from candidates(problem, H200)
    yield from tiles.of_warpgroups(problem, H200)
    for neighbours, flat in groupings(problem):
        for rows in ROWS:
            for batch in BATCHES:
                tile = assemble(problem, "cores", rows, batch, neighbours, flat)
                if tile and tile.shared_bytes <= H200.shared_bytes:
                    yield with_vectors(problem, tile)


def table() -> str:
    """A line for every problem: predicted milliseconds by version, the floor, and what was measured."""
    heads = ["problem", *(name for name, _ in VERSIONS), "floor", "measured"]
    lines = [heads]
    for problem in PROBLEMS:
        best = best_tiles(problem)
        times = [predicted_ms(problem, best[name]) if name in best else None for name, _ in VERSIONS]
        cells = ["" if time is None else f"{time:.4f}" for time in times]
        lines.append([str(problem), *cells, f"{floor_ms(problem):.4f}", NOT_MEASURED])
    return laid_out(lines)


def best_tiles(problem: Problem) -> dict[str, Tile]:
    """The best tile by the model that each version has, where it has any."""
    every = list(every_tile(problem))
    best = {name: [tile for tile in every if has(tile)] for name, has in VERSIONS}
    return {
        name: min(several, key=lambda tile: predicted_ms(problem, tile))
        for name, several in best.items()
        if several
    }


def laid_out(lines: list[list[str]]) -> str:
    """A table of Markdown, whose first line is its head."""
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# ---- on a GPU -------------------------------------------------------------------------------------

FLUSH_BYTES = 256 * 2**20
REPEATS = 20


def measure(into: Path) -> None:
    """Times every version of every problem; the file is written anew after each."""
    device = torch.device("cuda", torch.cuda.current_device())
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=device)
    lines = [["problem", "version", "tile", "predicted ms", "measured ms", "floor ms"]]
    for problem in PROBLEMS:
        for name, tile in best_tiles(problem).items():
            cells = [str(problem), name, str(tile), f"{predicted_ms(problem, tile):.4f}"]
            lines.append([*cells, measured(problem, tile, flush), f"{floor_ms(problem):.4f}"])
            into.write_text(
                f"{torch.cuda.get_device_name(device)}, cold, launch included\n\n{laid_out(lines)}\n"
            )
            print(" | ".join(lines[-1]), file=sys.stderr, flush=True)


def measured(problem: Problem, tile: Tile, flush: torch.Tensor) -> str:
    """The median milliseconds, each time with other bytes in the caches; or why there are none."""
    from kswatch.kernels.fused.cuda.launch import launcher
    from kswatch.kernels.fused.cuda_checks.trust import untrusted
    from kswatch.kernels.reference import make_operands

    if tile.family == "warpgroups" and (reason := untrusted(flush.device, tile)):
        return reason
    weights, x = make_operands(problem, flush.device, seed=1)
    try:
        product = launcher(problem, weights, None, tile)
    except KswatchError as error:
        return str(error)
    pairs = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(REPEATS)
    ]
    for begin, end in pairs[:3] + pairs:  # the first to warm up
        flush.zero_()  # long enough for the host to have queued all that follows
        begin.record()
        product(x)
        end.record()
    torch.cuda.synchronize(flush.device)
    return f"{statistics.median(begin.elapsed_time(end) for begin, end in pairs):.4f}"


def main() -> int:
    """Prints the table, or measures."""
    parser = argparse.ArgumentParser(
        prog="python -m kswatch.kernels.fused.cuda_checks.ladder", description=__doc__
    )
    parser.add_argument("--measure", type=Path, metavar="FILE", help="time every version on a GPU")
    options = parser.parse_args()
    if options.measure is None:
        print(table())
    elif torch.cuda.is_available():
        measure(options.measure)
    else:
        print("no NVIDIA GPU: nothing was measured", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

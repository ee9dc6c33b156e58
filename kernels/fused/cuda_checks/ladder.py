"""The versions of the kernel with their predicted times; KERNEL_LOG.md holds the table.

    python -m kswatch.kernels.fused.cuda_checks.ladder                  # print the table
    python -m kswatch.kernels.fused.cuda_checks.ladder --measure FILE   # on a GPU

`--measure` times the best tile of each version by the model, cold, and writes predicted and measured times.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import torch

from kswatch.errors import KswatchError
from kswatch.kernels.fused.cuda import launch, trust_record
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import Tile
from kswatch.kernels.fused.cuda_checks import chain_ladder
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import make_operands

H200 = GpuProperties(90, 132)
CLOCK_HZ = 1.7e9
"""Assumed clock under load."""
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
    Problem(Pattern(1, 1024, 1024, 1), 25_088, "fp8", "batch_first"),
)

VERSIONS: tuple[tuple[str, Callable[[Tile], bool]], ...] = (
    ("CUDA cores", lambda tile: not tile.walkers and tile.parts == 1 and tile.family == "cores"),
    ("tensor cores", lambda tile: not tile.walkers and tile.parts == 1 and not tile.needs_trust),
    ("parts of c", lambda tile: not tile.walkers and not tile.needs_trust),
    ("walkers", lambda tile: not tile.needs_trust),
    ("wgmma, TMA", lambda tile: tile.family != "persistent"),
    ("persistent", lambda tile: True),
)
"""Name and tiles of each version; each one includes the tiles of the versions before it."""

NOT_MEASURED = "not yet, no GPU"


def predicted_ms(problem: Problem, tile: Tile) -> float:
    """The time of a tile by the model, but at least the time of the compulsory bytes."""
    return max(1e3 * cycles(problem, tile, H200) / CLOCK_HZ, floor_ms(problem))


def floor_ms(problem: Problem) -> float:
    """The time to move the compulsory bytes."""
    return 1e3 * problem.compulsory_bytes / COPY_BYTES_PER_S


def every_tile(problem: Problem) -> Iterator[Tile]:
    """All tiles that can be chosen, and those of the CUDA cores in any precision, which no longer can."""
    yield from tiles.candidates(problem, H200)
    yield from tiles.hopper_tiles(problem, H200)
    if problem.precision == "fp8":  # which the CUDA cores do not have
        return
    for (neighbours, flat), rows, batch in product(tiles.groupings(problem), tiles.ROWS, tiles.BATCHES):
        tile = tiles.assemble(problem, "cores", rows, batch, neighbours, flat)
        if tile and tile.shared_bytes <= H200.shared_bytes:
            yield tile


def table() -> str:
    """A line for every problem: predicted milliseconds of each version, the floor, the measured time."""
    lines = [["problem", *(name for name, _ in VERSIONS), "floor", "measured"]]
    for problem in PROBLEMS:
        best = best_tiles(problem)
        times = [predicted_ms(problem, best[name]) if name in best else None for name, _ in VERSIONS]
        cells = ["" if time is None else f"{time:.4f}" for time in times]
        lines.append([str(problem), *cells, f"{floor_ms(problem):.4f}", NOT_MEASURED])
    return markdown_table(lines)


def chain_table() -> str:
    """A line for every published chain and precision: predicted milliseconds in two launches and in one."""
    return markdown_table([chain_ladder.header(), *chain_ladder.lines(H200, CLOCK_HZ)])


def best_tiles(problem: Problem) -> dict[str, Tile]:
    """The best tile of each version by the model; a version without a tile for the problem is left out."""
    every = list(every_tile(problem))
    by_version = {name: [tile for tile in every if includes(tile)] for name, includes in VERSIONS}
    predicted = partial(predicted_ms, problem)
    return {name: min(included, key=predicted) for name, included in by_version.items() if included}


def markdown_table(lines: list[list[str]]) -> str:
    """A Markdown table; the first line is its header."""
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# ---- on a GPU -------------------------------------------------------------------------------------

FLUSH_BYTES = 256 * 2**20
REPEATS = 20


def measure(into: Path) -> None:
    """Time every version of every problem; the file is rewritten after each."""
    device = torch.device("cuda", torch.cuda.current_device())
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=device)
    lines = [["problem", "version", "tile", "predicted ms", "measured ms", "floor ms"]]
    for problem in PROBLEMS:
        for name, tile in best_tiles(problem).items():
            cells = [str(problem), name, str(tile), f"{predicted_ms(problem, tile):.4f}"]
            lines.append([*cells, measured(problem, tile, flush), f"{floor_ms(problem):.4f}"])
            into.write_text(
                f"{torch.cuda.get_device_name(device)}, cold, launch included\n\n{markdown_table(lines)}\n"
            )
            print(" | ".join(lines[-1]), file=sys.stderr, flush=True)


def measured(problem: Problem, tile: Tile, flush: torch.Tensor) -> str:
    """The median milliseconds with flushed caches, or the reason why there is no measurement."""
    if tile.needs_trust and (reason := trust_record.untrusted_reason(flush.device, tile)):
        return reason
    weights, x = make_operands(problem, flush.device, seed=1)
    try:
        multiply = launch.prepare_unchecked(problem, weights, None, tile)
    except KswatchError as error:
        return str(error)
    pairs = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(REPEATS)
    ]
    for begin, end in pairs[:3] + pairs:  # the first three are warm-up
        flush.zero_()  # long enough for the host to queue everything that follows
        begin.record()
        multiply(x)
        end.record()
    torch.cuda.synchronize(flush.device)
    return f"{statistics.median(begin.elapsed_time(end) for begin, end in pairs):.4f}"


def main() -> int:
    """Print the table, or measure."""
    parser = argparse.ArgumentParser(
        prog="python -m kswatch.kernels.fused.cuda_checks.ladder",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--measure", type=Path, metavar="FILE", help="time every version on a GPU")
    options = parser.parse_args()
    if options.measure is None:
        print(f"{table()}\n\n{chain_table()}")
    elif torch.cuda.is_available():
        measure(options.measure)
    else:
        print("no NVIDIA GPU: nothing was measured", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

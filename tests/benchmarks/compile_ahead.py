"""Compiles all tiles that a session on a GPU needs, in advance and on all cores.

    python tests/benchmarks/compile_ahead.py trials
    python tests/benchmarks/compile_ahead.py vit_s16 --most 4     # including tiles that tuning would try
    python tests/benchmarks/compile_ahead.py paper --architecture 90

Needs no GPU: without one it compiles for the given architecture with 132 multiprocessors.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

from kswatch.errors import KswatchError
from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import driver
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import FAMILIES, Tile
from kswatch.kernels.fused.cuda.trust_record import CHECK_PROBLEMS
from kswatch.kernels.fused.cuda_checks import trials
from kswatch.kernels.problem import PRECISIONS, Problem
from kswatch.profiler.planning import suites as suite


def tiles_of_trials(gpu: GpuProperties) -> list[Tile]:
    kinds = [(family, precision) for family in FAMILIES for precision in PRECISIONS]
    tried = [trial.tile for kind in kinds for trial in trials.trials(*kind, gpu)]
    return tried + [tile for problem in CHECK_PROBLEMS for tile in tiles.hopper_tiles(problem, gpu)]


def tiles_of_suite(name: str, gpu: GpuProperties, most: int) -> list[Tile]:
    problems = [problem for problem in suite.find(name).problems() if gpu.supports(problem)]
    return [tile for problem in problems for tile in best(problem, gpu, most)]


def best(problem: Problem, gpu: GpuProperties, most: int) -> list[Tile]:
    """The best tiles by the model, and the best without wgmma, for a GPU where wgmma is not trusted."""
    plain = sorted(tiles.candidates(problem, gpu), key=lambda tile: cycles(problem, tile, gpu))
    every = [*plain, *tiles.hopper_tiles(problem, gpu)]
    return [*sorted(every, key=lambda tile: cycles(problem, tile, gpu))[:most], plain[0]]


def distinct(tiles: list[Tile]) -> list[Tile]:
    """One tile for each translation unit."""
    return list({tile.source: tile for tile in tiles}.values())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", help="trials, or the name of a suite")
    parser.add_argument("--most", type=int, default=1, help="tiles for each problem of a suite")
    parser.add_argument("--architecture", type=int, default=90, help="used without a GPU; 90 by default")
    parser.add_argument(
        "--within", type=float, default=1e9, help="seconds after which no compiler is started"
    )
    options = parser.parse_args()
    gpu = GpuProperties(options.architecture, 132)
    if torch.cuda.is_available():
        gpu = driver.gpu_properties(torch.device("cuda", torch.cuda.current_device()))
    if options.workload == "trials":
        every = tiles_of_trials(gpu)
    else:
        every = tiles_of_suite(options.workload, gpu, options.most)
    return compile_all(distinct(every), gpu.architecture, options.within)


def compile_all(every: list[Tile], architecture: int, within_s: float) -> int:
    started, failed = time.monotonic(), 0

    def compile_in_time(tile: Tile) -> None:
        if time.monotonic() - started <= within_s:
            compiler.cubin(tile, architecture)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {pool.submit(compile_in_time, tile): tile for tile in every}
        for count, future in enumerate(as_completed(futures), 1):
            try:
                future.result()
            except KswatchError as error:
                failed += 1
                print(f"{futures[future].name}: {error}", file=sys.stderr)
            if count % 20 == 0 or count == len(every):
                seconds = time.monotonic() - started
                print(f"{count} of {len(every)} tiles, {seconds:.0f} s", file=sys.stderr, flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

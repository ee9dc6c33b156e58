"""Machine code before anybody waits for it: all tiles that a visit to a GPU needs, on all cores at once.

    python tests/benchmarks/compile_ahead.py trials
    python tests/benchmarks/compile_ahead.py vit_s16 --most 4     # those that a search would try, too
    python tests/benchmarks/compile_ahead.py paper --architecture 90

Needs no GPU: without one it compiles for the architecture named, for 132 multiprocessors.
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
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda.tile import FAMILIES, Tile
from kswatch.kernels.fused.cuda_checks import trials, trust
from kswatch.kernels.problem import PRECISIONS, Problem
from kswatch.profiler.planning import suites as suite


def tiles_of_trials(machine: Machine) -> list[Tile]:
    kinds = [(family, precision) for family in FAMILIES for precision in PRECISIONS]
    wanted = [trial.tile for kind in kinds for trial in trials.trials(*kind, machine)]
    return wanted + [tile for problem in trust.PROBLEMS for tile in tiles.of_warpgroups(problem, machine)]


def tiles_of_suite(name: str, machine: Machine, most: int) -> list[Tile]:
    problems = [problem for problem in suite.find(name).problems() if machine.computes(problem)]
    return [tile for problem in problems for tile in best(problem, machine, most)]


def best(problem: Problem, machine: Machine, most: int) -> list[Tile]:
    """The best by the model, and the best without wgmma, which is chosen where wgmma is not trusted."""
    plain = sorted(tiles.candidates(problem, machine), key=lambda tile: cycles(problem, tile, machine))
    wide = tiles.of_warpgroups(problem, machine)
    every = sorted([*plain, *wide], key=lambda tile: cycles(problem, tile, machine))
    return [*every[:most], plain[0]]


def distinct(wanted: list[Tile]) -> list[Tile]:
    """One for each translation unit."""
    return list({tile.source: tile for tile in wanted}.values())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", help="trials, or a suite")
    parser.add_argument("--most", type=int, default=1, help="tiles for each problem of a suite")
    parser.add_argument("--architecture", type=int, default=90, help="where there is no GPU; 90 by default")
    parser.add_argument("--within", type=float, default=1e9, help="seconds after which no compiler is begun")
    options = parser.parse_args()
    machine = Machine(options.architecture, 132)
    if torch.cuda.is_available():
        machine = driver.machine(torch.device("cuda", torch.cuda.current_device()))
    of = tiles_of_trials(machine) if options.what == "trials" else None
    wanted = distinct(of if of is not None else tiles_of_suite(options.what, machine, options.most))
    return compile_all(wanted, machine.architecture, options.within)


def compile_all(wanted: list[Tile], architecture: int, within_s: float) -> int:
    started, failed = time.monotonic(), 0

    def compiled(tile: Tile) -> bool:
        if time.monotonic() - started > within_s:
            return False
        compiler.cubin(tile, architecture)
        return True

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = {pool.submit(compiled, tile): tile for tile in wanted}
        for count, future in enumerate(as_completed(waiting), 1):
            try:
                future.result()
            except KswatchError as error:
                failed += 1
                print(f"{waiting[future].name}: {error}", file=sys.stderr)
            if count % 20 == 0 or count == len(wanted):
                seconds = time.monotonic() - started
                print(f"{count} of {len(wanted)} tiles, {seconds:.0f} s", file=sys.stderr, flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

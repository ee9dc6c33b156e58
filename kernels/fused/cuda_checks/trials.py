"""Compares every variant of the kernel with float64 on the GPU at hand, small problems first.

    python -m kswatch.kernels.fused.cuda_checks.trials        # all families and precisions
    python -m kswatch.kernels.fused.cuda_checks.trials --family tensor_cores --precision fp16 --into FILE
    python -m kswatch.kernels.fused.cuda_checks.trials --machine   # the GPU's properties, as one line of JSON

A failing kernel may leave its process without a GPU: to get all results, run each family and precision in
a process of its own. wgmma is checked by `kswatch.kernels.fused.cuda_checks.trust`, which keeps its results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from kswatch.errors import KswatchError
from kswatch.kernels.fused.cuda import driver, launch
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile import FAMILIES, SOURCES, Family, Tile, ceil_div
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Precision, Problem
from kswatch.kernels.reference import Correctness, check, make_operands, reference

SHAPES = (
    ((2, 20, 24, 1), 37),  # rows and columns end inside a tile, batch entries between vectors
    ((1, 33, 17, 3), 40),  # one element per access in batch_first
    ((2, 24, 40, 12), 104),  # more j's than one group holds
    ((1, 72, 128, 16), 1000),
    ((2, 128, 200, 1), 1),
    ((1, 384, 384, 2), 4096),
)
"""Patterns and batches, the smallest first; the last fills a GPU."""


@dataclass(frozen=True)
class Trial:
    """One tile that must compute one problem."""

    problem: Problem
    tile: Tile
    kind: str
    """`plain`, `parts` of c or `walkers` along the batch."""


@dataclass(frozen=True)
class TrialResult:
    """The result of a trial, as it is written to a file."""

    problem: str
    kind: str
    tile: str
    right: bool
    relative_error: float
    reason: str | None


def trials(family: Family, precision: Precision, gpu: GpuProperties) -> Iterator[Trial]:
    """All trials of a family in a precision; none where the GPU has no such kernel."""
    for shape, batch in SHAPES:
        for layout in LAYOUTS:
            problem = Problem(Pattern(*shape), batch, precision, layout)
            if gpu.supports(problem) and family in gpu.families(problem):
                yield from _variants(problem, family, gpu)


def _variants(problem: Problem, family: Family, gpu: GpuProperties) -> Iterator[Trial]:
    """The family's best tile by the model, then the same in parts and with walkers, where they fit."""
    of_family = (tile for tile in tiles.candidates(problem, gpu) if tile.family == family)
    plain = min(
        (tile for tile in of_family if tile.parts == 1 and not tile.walkers),
        key=lambda tile: cycles(problem, tile, gpu),
    )
    yield Trial(problem, plain, "plain")
    steps = ceil_div(problem.pattern.c, plain.depth)
    if steps > 1:
        yield Trial(problem, replace(plain, parts=2), "parts")
    walking = replace(plain, walkers=2, weight_steps=steps)
    if walking.launch_bytes <= gpu.shared_bytes:
        yield Trial(problem, walking, "walkers")


def run_trial(trial: Trial, device: torch.device) -> TrialResult:
    """Compute with a bias."""
    found = compute_and_check(trial.problem, trial.tile, device, with_bias=True)
    names = (str(trial.problem), trial.kind, str(trial.tile))
    return TrialResult(*names, found.ok, found.relative_error, found.reason)


def compute_and_check(problem: Problem, tile: Tile, device: torch.device, with_bias: bool) -> Correctness:
    """The errors of a tile's product of fresh operands, in an output full of NaN before.

    Raises:
        KswatchError: the tile does not compile, load or launch.
    """
    weights, x = make_operands(problem, device, seed=1)
    bias = torch.randn(problem.pattern.rows, device=device).to(weights.dtype) if with_bias else None
    product = launch.prepare_unchecked(problem, weights, bias, tile)
    y = product(x, empty=lambda *size, **options: torch.empty(*size, **options).fill_(torch.nan))
    torch.cuda.synchronize(device)
    truth = reference(problem, weights, x)
    if bias is not None:
        truth += bias if problem.layout == "batch_first" else bias[:, None]
    return check(problem, y, truth)


def main(arguments: list[str] | None = None) -> int:
    """Run the trials; 0 if all are right. Prints a line for each to stderr, and JSON to a file."""
    options = _parser().parse_args(arguments)
    if not torch.cuda.is_available():
        print("no NVIDIA GPU: nothing was tried", file=sys.stderr)
        return 2
    device = torch.device("cuda", torch.cuda.current_device())
    gpu = driver.gpu_properties(device)
    if options.machine:
        print(json.dumps({"gpu": torch.cuda.get_device_name(device), **asdict(gpu)}))
        return 0
    right = True
    for family in options.family or ("cores", "tensor_cores"):
        for precision in options.precision or PRECISIONS:
            for trial in list(trials(family, precision, gpu))[: options.most]:
                right &= run_and_report(trial, device, options.into)
    return 0 if right else 1


def run_and_report(trial: Trial, device: torch.device, into: Path | None) -> bool:
    """Run a trial and report it; True if it was right. A tile that does not compile or load is a failure."""
    try:
        result = run_trial(trial, device)
    except KswatchError as error:
        result = TrialResult(str(trial.problem), trial.kind, str(trial.tile), False, float("nan"), str(error))
    print(f"{result.problem}, {result.tile}: {result.reason or 'right'}", file=sys.stderr, flush=True)
    if into:
        with into.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
    return result.right


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kswatch.kernels.fused.cuda_checks.trials",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--family", action="append", choices=[name for name in FAMILIES if name not in SOURCES]
    )
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--most", type=int, help="maximum number of trials for each family and precision")
    parser.add_argument("--into", type=Path, help="append each result to this file, as a line of JSON")
    parser.add_argument("--machine", action="store_true", help="print the GPU's properties and exit")
    return parser


if __name__ == "__main__":
    sys.exit(main())

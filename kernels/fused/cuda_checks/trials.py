"""Every way of computing, held against float64 on the GPU at hand: small problems first.

    python -m kswatch.kernels.fused.cuda_checks.trials                            # all families and precisions
    python -m kswatch.kernels.fused.cuda_checks.trials --family tensor_cores --precision fp16 --into right.jsonl
    python -m kswatch.kernels.fused.cuda_checks.trials --machine                  # what GPU there is, as one line of JSON

A kernel that fails may leave its process without a GPU: a caller who wants to know more gives each
family and precision a process of its own. wgmma is tried by `kswatch.kernels.fused.cuda_checks.trust`, which remembers.
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
from kswatch.kernels.fused.cuda import tile_candidates as tiles
from kswatch.kernels.fused.cuda.estimate import cycles
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.fused.cuda.tile import FAMILIES, Family, Tile, ceil
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Precision, Problem
from kswatch.kernels.reference import check, make_operands, reference

SHAPES = (
    ((2, 20, 24, 1), 37),  # rows and columns end inside a tile, batch entries between vectors
    ((1, 33, 17, 3), 40),  # one element per access in batch_first
    ((2, 24, 40, 12), 104),  # more j's than one group takes
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
class Outcome:
    """What came of a trial."""

    problem: str
    kind: str
    tile: str
    right: bool
    relative_error: float
    reason: str | None


def trials(family: Family, precision: Precision, machine: Machine) -> Iterator[Trial]:
    """All trials of a family in a precision; none where the machine has no such kernel."""
    for shape, batch in SHAPES:
        for layout in LAYOUTS:
            problem = Problem(Pattern(*shape), batch, precision, layout)
            if machine.computes(problem) and family in machine.families(problem):
                yield from _kinds(problem, family, machine)


def _kinds(problem: Problem, family: Family, machine: Machine) -> Iterator[Trial]:
    """The family's best tile by the model, then the same in parts and with walkers, where they fit."""
    plain = min(
        (tile for tile in tiles.candidates(problem, machine) if tile.family == family and is_plain(tile)),
        key=lambda tile: cycles(problem, tile, machine),
    )
    yield Trial(problem, plain, "plain")
    steps = ceil(problem.pattern.c, plain.depth)
    if steps > 1:
        yield Trial(problem, replace(plain, parts=2), "parts")
    walking = replace(plain, walkers=2, weight_steps=steps)
    if walking.launch_bytes <= machine.shared_bytes:
        yield Trial(problem, walking, "walkers")


def is_plain(tile: Tile) -> bool:
    """Neither in parts nor with walkers."""
    return tile.parts == 1 and not tile.walkers


def attempt(trial: Trial, device: torch.device) -> Outcome:
    """Computes with a bias, on fresh operands, into an output full of NaN."""
    from kswatch.kernels.fused.cuda.launch import launcher

    problem = trial.problem
    weights, x = make_operands(problem, device, seed=1)
    bias = torch.randn(problem.pattern.rows, device=device).to(weights.dtype)
    product = launcher(problem, weights, bias, trial.tile)
    y = product(x, empty=lambda *size, **options: torch.empty(*size, **options).fill_(torch.nan))
    torch.cuda.synchronize(device)
    more = bias.double() if problem.layout == "batch_first" else bias.double()[:, None]
    answer = check(problem, y, reference(problem, weights, x) + more)
    return Outcome(str(problem), trial.kind, str(trial.tile), answer.ok, answer.relative_error, answer.reason)


def main(arguments: list[str] | None = None) -> int:
    """0 if everything that was tried is right; a line for each on stderr, and in a file as JSON."""
    options = _parser().parse_args(arguments)
    if not torch.cuda.is_available():
        print("no NVIDIA GPU: nothing was tried", file=sys.stderr)
        return 2
    from kswatch.kernels.fused.cuda import driver

    device = torch.device("cuda", torch.cuda.current_device())
    machine = driver.machine(device)
    if options.machine:
        print(json.dumps({"gpu": torch.cuda.get_device_name(device), **asdict(machine)}))
        return 0
    right = True
    for family in options.family or ("cores", "tensor_cores"):
        for precision in options.precision or PRECISIONS:
            for trial in list(trials(family, precision, machine))[: options.most]:
                right &= tell(trial, device, options.into)
    return 0 if right else 1


def tell(trial: Trial, device: torch.device, into: Path | None) -> bool:
    """Whether a trial came out right; a tile that does not compile or load has not."""
    try:
        outcome = attempt(trial, device)
    except KswatchError as error:
        outcome = Outcome(str(trial.problem), trial.kind, str(trial.tile), False, float("nan"), str(error))
    print(f"{outcome.problem}, {outcome.tile}: {outcome.reason or 'right'}", file=sys.stderr, flush=True)
    if into:
        with into.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
    return outcome.right


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kswatch.kernels.fused.cuda_checks.trials",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--family", action="append", choices=[name for name in FAMILIES if name != "warpgroups"]
    )
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--most", type=int, help="of each family and precision, only the first so many")
    parser.add_argument("--into", type=Path, help="a file to which each outcome is added as a line of JSON")
    parser.add_argument("--machine", action="store_true", help="tell what GPU there is, and try nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())

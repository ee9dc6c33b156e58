"""The CPU twin against the best baseline: one ratio per problem, interleaved in one process.

    python -m tests.benchmarks.twin_times                      # all rows, one thread, by CPU time
    python -m tests.benchmarks.twin_times --baselines expert   # with the rivals that are installed
    python -m tests.benchmarks.twin_times --threads 2          # by wall time: for a quiet machine
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python -m tests.benchmarks.twin_times --march x86-64-v3
    python -m tests.benchmarks.twin_times --pattern 6,64,64,1 --precision bf16 --layout batch_first
    python -m tests.benchmarks.twin_times --precision fp8 --layout batch_first   # which baselines compute

Each round times the twin and every baseline that is not hopeless, one after the other; a row is the median of
the rounds' ratios, a baseline's time over the twin's, for the baseline with the lowest median. Weights are
re-laid before, for all. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import inf

import torch

from kswatch.db.records import BASELINE_SETS, RIVALS, STOCK
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.fused.cpu_twin import build as twin_build
from kswatch.kernels.implementation import Product
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import precision_scope
from kswatch.kernels.problem import LAYOUTS, Layout, Precision, Problem
from kswatch.kernels.reference import make_operands
from tests.kernels.products import supported_products

PATTERNS = (
    *((2, 48, 192, 1), (1, 192, 48, 2), (6, 64, 64, 1), (1, 768, 192, 2), (6, 64, 256, 1), (1, 128, 128, 3)),
    *(
        (16, 64, 64, 1),
        (1, 256, 64, 16),
        (16, 64, 256, 1),
        (1, 64, 64, 16),
        (64, 64, 64, 1),
        (1, 64, 256, 16),
    ),
)
"""The six of `vit_s16`, then longer chains of blocks and of neighbours."""
BATCHES = (196, 1568, 4096)
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")

HOPELESS = 1.5
"""A baseline this much slower than the fastest one in the trial calls is not timed further."""
ROUND_NS = 2_000_000
LONG_NS = 20_000_000
ROUNDS = 11


@dataclass(frozen=True)
class Row:
    """One problem: the twin's microseconds, and the best baseline's time over the twin's."""

    pattern: str
    d: int
    batch: int
    precision: Precision
    layout: Layout
    twin_us: float
    best: str
    ratio: float
    rivals: dict[str, float]
    """The time of each rival that supports the problem, over the twin's."""

    def __str__(self) -> str:
        problem = f"({self.pattern}) batch {self.batch} {self.precision} {self.layout}"
        rivals = "".join(f"  {name} {ratio:.3f}" for name, ratio in self.rivals.items())
        return f"{problem:<50}{self.twin_us:>10.1f} us  {self.ratio:>6.3f} x  {self.best}{rivals}"


def measure(problem: Problem, clock: Callable[[], int], baselines: Sequence[str] = STOCK) -> Row:
    """The row of one problem."""
    weights, x = make_operands(problem, "cpu", seed=1)
    with torch.inference_mode(), precision_scope(problem):
        twin = implementation("fused").prepare(problem, weights)
        ratios: dict[str, list[float]] = {}
        twin_ns = []
        others = contenders(problem, weights, x, clock, baselines)
        calls = {name: calls_of(product, x, clock) for name, product in {"fused": twin, **others}.items()}
        for _ in range(ROUNDS):
            twin_ns.append(time_of(twin, x, calls["fused"], clock))
            for name, other in others.items():
                ratios.setdefault(name, []).append(time_of(other, x, calls[name], clock) / twin_ns[-1])
    medians_of = {name: statistics.median(found) for name, found in ratios.items()}
    best = min(medians_of, key=lambda name: medians_of[name])
    pattern = problem.pattern
    return Row(
        str(pattern),
        pattern.d,
        problem.batch,
        problem.precision,
        problem.layout,
        statistics.median(twin_ns) / 1e3,
        best,
        medians_of[best],
        {name: ratio for name, ratio in medians_of.items() if name in RIVALS},
    )


def contenders(
    problem: Problem,
    weights: torch.Tensor,
    x: torch.Tensor,
    clock: Callable[[], int],
    baselines: Sequence[str],
) -> dict[str, Product]:
    """The baselines that support the problem and are not hopeless, and every rival that supports it."""
    products = supported_products(baselines, problem, weights)
    trials: dict[str, float] = {}
    for name, product in products.items():
        trials[name] = trial(product, x, clock, min(trials.values(), default=inf))
    bound = HOPELESS * min(trials.values())
    return {name: products[name] for name, trial in trials.items() if trial <= bound or name in RIVALS}


def trial(product: Product, x: torch.Tensor, clock: Callable[[], int], fastest: float) -> float:
    """Nanoseconds of the fastest of three calls, or of the first one if that is long and far behind."""
    first = time_of(product, x, 1, clock)
    if first > max(LONG_NS, 3 * fastest):
        return first
    return min(first, time_of(product, x, 1, clock), time_of(product, x, 1, clock))


def calls_of(product: Product, x: torch.Tensor, clock: Callable[[], int]) -> int:
    """How many calls fill a round."""
    return max(1, round(ROUND_NS / min(time_of(product, x, 1, clock) for _ in range(3))))


def time_of(product: Product, x: torch.Tensor, calls: int, clock: Callable[[], int]) -> float:
    """Nanoseconds of one call, over several calls."""
    started = clock()
    for _ in range(calls):
        product(x)
    return max(1, clock() - started) / calls


def medians(rows: Iterable[Row]) -> Iterator[tuple[str, list[float]]]:
    """The ratios of each group of rows that has a goal of its own, and those of each rival."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        kind = f"{row.precision} {row.layout} {'d = 1' if row.d == 1 else 'd > 1'}"
        groups.setdefault(kind, []).append(row.ratio)
        for rival, ratio in row.rivals.items():
            groups.setdefault(f"{kind} {rival}", []).append(ratio)
    yield from groups.items()


def problems(arguments: argparse.Namespace) -> list[Problem]:
    """The problems that the arguments select."""
    patterns = [tuple(map(int, text.split(","))) for text in arguments.pattern] or PATTERNS
    return [
        Problem(Pattern(*pattern), batch, precision, layout)
        for precision in arguments.precision or PRECISIONS
        for layout in arguments.layout or LAYOUTS
        for pattern in patterns
        for batch in arguments.batch or BATCHES
    ]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1, help="1: processor time; more: wall time")
    parser.add_argument("--baselines", choices=("all", "expert"), default="all")
    parser.add_argument("--march", help="build the twin for this instruction set instead of `native`")
    parser.add_argument("--pattern", action="append", default=[], help="a,b,c,d; again for more")
    parser.add_argument("--batch", type=int, action="append")
    choices = (*PRECISIONS, "fp16", "fp64", "complex64", "fp8")
    parser.add_argument("--precision", action="append", choices=choices)
    parser.add_argument("--layout", action="append", choices=LAYOUTS)
    parser.add_argument("--json", action="store_true", help="one list of rows on stdout")
    return parser.parse_args()


def main() -> None:
    """Measure and print every row, then the medians."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    if arguments.march:
        flags = (flag.replace("native", arguments.march) for flag in twin_build.FLAGS)
        twin_build.FLAGS = tuple(flags)
    # Of all threads of the process: a library may compute on one of its own.
    clock = time.process_time_ns if arguments.threads == 1 else time.perf_counter_ns
    wanted, rows = problems(arguments), []
    for number, problem in enumerate(wanted, 1):
        rows.append(measure(problem, clock, BASELINE_SETS[arguments.baselines]))
        print(f"{number:>4}/{len(wanted)}  {rows[-1]}", file=sys.stderr, flush=True)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    for name, ratios in medians(rows):
        behind = sum(ratio < 0.97 for ratio in ratios)
        print(f"{name:<40}{statistics.median(ratios):>7.3f} x  under 0.97: {behind} of {len(ratios)}")


if __name__ == "__main__":
    main()

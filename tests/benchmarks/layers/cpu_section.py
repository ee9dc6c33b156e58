"""Measures products on this CPU and fits the sections of the model file that `auto` and `advise` use there.

    python -m tests.benchmarks.layers.cpu_section --measurements FILE --output kernels/heuristics/learned.json
    python -m tests.benchmarks.layers.cpu_section --measurements FILE --score    # held out by block, minutes

One thread and thread CPU time, so that other processes disturb little. The problems are random factors of
chains of two, drawn from a seed: layers of 64 to 4096 features with 3 to 60 % of the dense weights, batch 1
to 1568, dense products of at most 2 GFLOP. Sections of other devices in the file are kept.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import torch

from kswatch.errors import UsageError
from kswatch.kernels.adoption.chains import valid_chains
from kswatch.kernels.catalogue import implementation
from kswatch.kernels.heuristics.device_distance import balance_facts
from kswatch.kernels.heuristics.measured import HeldOutPredictions, MeasuredProblem, held_out
from kswatch.kernels.heuristics.model_file import SHIPPED, merge_sections, read_sections, write_sections
from kswatch.kernels.heuristics.training import fit_sections, fitters
from kswatch.kernels.implementation import Product
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.precision import precision_scope
from kswatch.kernels.problem import Precision, Problem
from kswatch.kernels.reference import make_operands
from kswatch.profiler.devices.discovery import cpu_target

FEATURES = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
BATCHES = (1, 4, 16, 64, 128, 196, 512, 1568)
NAMES = ("fused", "bmm", "dense")
"""Without `bmm_strided`: in `batch_first` it computes only d = 1, where it is `bmm`."""
MOST_FLOPS = 2_000_000_000
PROBLEMS = 170
CELL_SECONDS = 0.04
FEWEST, MOST = 5, 200
CPU = torch.device("cpu")


def problems(precision: Precision, count: int, seed: int = 16) -> list[Problem]:
    """Random factors, each once."""
    chance = random.Random(seed)
    found: dict[Problem, None] = {}
    while len(found) < count:
        sides = chance.choice(FEATURES), chance.choice(FEATURES)
        try:
            chains = valid_chains(*sides, chance.choice((1 / 16, 1 / 8, 1 / 4, 0.6)), 2)
        except UsageError:  # more chains than are enumerated
            continue
        if chains:
            pattern = chance.choice(chance.choice(chains))
            problem = Problem(pattern, chance.choice(BATCHES), precision, "batch_first")
            if min(pattern.b, pattern.c) >= 4 and implementation("dense").flops(problem) <= MOST_FLOPS:
                found[problem] = None
    return list(found)


def measured(problem: Problem) -> MeasuredProblem:
    """Milliseconds of each implementation, in interleaved rounds."""
    weights, x = make_operands(problem, CPU, seed=1)
    with torch.inference_mode(), precision_scope(problem):
        calls = {
            name: _call(implementation(name).prepare(problem, weights), x)
            for name in NAMES
            if implementation(name).unsupported(problem, CPU) is None
        }
        trials = {name: min(_seconds(call) for _ in range(3)) for name, call in calls.items()}
        repeats = {name: max(1, round(0.001 / trial)) for name, trial in trials.items()}
        round_s = sum(trials[name] * repeats[name] for name in calls)
        rounds = min(MOST, max(FEWEST, round(CELL_SECONDS * len(calls) / round_s)))
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                times[name].append(_seconds(call, repeats[name]))
    costs = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    best = min(value for name, value in costs.items() if name != "fused")
    return MeasuredProblem(problem, costs, best / costs["fused"])


def _call(product: Product, x: torch.Tensor) -> Callable[[], object]:
    return lambda: product(x)


def _seconds(call: Callable[[], object], repeats: int = 1) -> float:
    started = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - started) / repeats


def report(found: list[MeasuredProblem], facts: dict[str, object]) -> None:
    """Accuracy and regret held out by block, and the median errors of the costs."""
    for name in ("majority", "permutation", "learned"):
        pairs = held_out(found, fitters(facts, "latency")[name])
        right = [prediction.predicts_fused == ((one.speedup or 0) > 1) for one, prediction in pairs]
        lost = [
            one.costs["fused"] / min(one.costs.values()) - 1
            if prediction.predicts_fused
            else min(value for key, value in one.costs.items() if key != "fused") / min(one.costs.values())
            - 1
            for one, prediction in pairs
        ]
        errors = {key: _median_error(pairs, key) for key in NAMES if name == "learned"}
        shares = ", ".join(f"{key} {value:.1%}" for key, value in errors.items())
        print(f"  {name}: accuracy {statistics.mean(right):.3f}, regret {statistics.mean(lost):.2%} {shares}")


def _median_error(pairs: HeldOutPredictions, name: str) -> float:
    """Of the predicted costs of an implementation."""
    return statistics.median(
        abs(prediction.costs[name] / one.costs[name] - 1)
        for one, prediction in pairs
        if prediction.costs and name in prediction.costs and name in one.costs
    )


def main() -> None:
    """Measure, score, and write where a file is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", action="append", choices=("fp32", "bf16"))
    parser.add_argument("--problems", type=int, default=PROBLEMS)
    parser.add_argument("--measurements", type=Path, required=True, help="read if it exists, else written")
    parser.add_argument("--score", action="store_true", help="accuracy and errors, held out by block")
    parser.add_argument("--output", type=Path, help="model file to write; other sections of it are kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = cpu_target().record
    facts = balance_facts(
        {"model": device.model, "kind": "cpu", "architecture": device.architecture, "origin": "measured"}
    )
    found = read(arguments.measurements)
    for precision in arguments.precision or ("fp32", "bf16"):
        if precision not in {one.problem.precision for one in found}:
            print(f"measuring {arguments.problems} problems in {precision}", file=sys.stderr, flush=True)
            found += [measured(problem) for problem in problems(precision, arguments.problems)]
            write(arguments.measurements, found)
    for precision in sorted({one.problem.precision for one in found}):
        group = [one for one in found if one.problem.precision == precision]
        wins = sum((one.speedup or 0) > 1 for one in group)
        print(f"{precision}: {len(group)} problems, fused fastest in {wins}")
        if arguments.score:
            report(group, dict(facts))
    if arguments.output:
        former = read_sections(arguments.output if arguments.output.exists() else SHIPPED)
        sections = fit_sections(found, facts, "latency")
        write_sections(arguments.output, merge_sections(former, sections))


def read(path: Path) -> list[MeasuredProblem]:
    """What an earlier call measured; nothing where it wrote no file."""
    rows = json.loads(path.read_text()) if path.exists() else []
    return [
        MeasuredProblem(Problem(Pattern.parse(pattern), *facets), costs, speedup)
        for pattern, facets, costs, speedup in rows
    ]


def write(path: Path, found: list[MeasuredProblem]) -> None:
    """Keep the measurements."""
    rows = [(str(one.problem.pattern), astuple(one.problem)[1:], one.costs, one.speedup) for one in found]
    path.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()

"""Forward passes of models with Kronecker-sparse layers, and Strassen-Tile layers, against dense ones.

    python -m tests.benchmarks.layers.model_times                         # all rows, about four minutes
    python -m tests.benchmarks.layers.model_times --model vit_s16 --precision bf16 --batch 1
    python -m tests.benchmarks.layers.model_times --json

One thread, thread CPU time. Each round runs every variant once, in alternating order; a ratio is the median
of the rounds' ratios. Dense is the faster of "as published" and "fair"; a baseline that takes longer than
`HOPELESS` times the fastest one in its trial forwards is not timed further, nor tried at larger batches.
Chains are frozen, as they are for inference, and once more as they are by default (`live`). Progress goes to
stderr.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import nn

from kswatch.kernels.linear import KSLinear
from kswatch.kernels.models.base import AUTO, FAIR, FUSED, PUBLISHED, Model, ModelStructure, Variant
from kswatch.kernels.models.catalogue import find_model
from kswatch.kernels.networks.build import build_model, model_input, unsupported_reason
from kswatch.kernels.problem import Precision

CPU = torch.device("cpu")
MODELS = ("vit_s16", "gpt2_block")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
BATCHES = (1, 8)
HOPELESS = 1.6
ROUND_SECONDS = 6.0
FEWEST_ROUNDS, MOST_ROUNDS = 5, 15
LIVE = "live"
"""By `fused`, with the weights compared at each call."""
ALWAYS = (PUBLISHED, FAIR, "bmm", AUTO, FUSED, LIVE)


@dataclass(frozen=True)
class Row:
    """One structure of a model at one batch and precision, in milliseconds and ratios of the same rounds."""

    model: str
    structure: str
    precision: Precision
    batch: int
    times_ms: dict[str, float]
    """By variant; of hopeless ones that of the trial."""
    dense: str
    dense_over_fused: float
    bmm_over_fused: float
    best: str
    """The fastest single implementation."""
    best_over_auto: float
    live_over_fused: float

    def __str__(self) -> str:
        name = f"{self.model} {self.structure} {self.precision} batch {self.batch}"
        return (
            f"{name}: dense ({self.dense}) / fused {self.dense_over_fused:.3f}, bmm / fused "
            f"{self.bmm_over_fused:.3f}, best ({self.best}) / auto {self.best_over_auto:.3f}, live / fused "
            f"{self.live_over_fused:.3f}; "
            + ", ".join(f"{variant} {value:.1f} ms" for variant, value in self.times_ms.items())
        )


@torch.no_grad()
def measure(
    model: Model, structure: ModelStructure, precision: Precision, batch: int, hopeless: set[str]
) -> Row:
    """The row of one structure; names of hopeless baselines are added to the set."""
    x = model_input(model, batch, precision)
    calls = {
        name: _call(network, x)
        for name, network in networks(model, structure, precision, batch)
        if name not in hopeless
    }
    trials = {name: min(seconds(call), seconds(call)) for name, call in calls.items()}
    limit = HOPELESS * min(trials.values())
    hopeless |= {name for name in calls if name not in ALWAYS and trials[name] > limit}
    timed = [name for name in calls if name not in hopeless]
    rounds = round(ROUND_SECONDS / sum(trials[name] for name in timed))
    times: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(min(MOST_ROUNDS, max(FEWEST_ROUNDS, rounds))):
        for name in timed if number % 2 else reversed(timed):
            times[name].append(seconds(calls[name]))
    medians = {name: statistics.median(values) for name, values in times.items()}
    dense = min((PUBLISHED, FAIR), key=medians.__getitem__)
    singles = [name for name in timed if name not in (PUBLISHED, FAIR, AUTO, LIVE)]
    best = min(singles, key=medians.__getitem__)
    return Row(
        model.name,
        structure.name,
        precision,
        batch,
        {name: 1e3 * medians.get(name, trials[name]) for name in calls},
        dense,
        ratio(times[dense], times[FUSED]),
        ratio(times["bmm"], times[FUSED]),
        best,
        ratio(times[best], times[AUTO]),
        ratio(times[LIVE], times[FUSED]),
    )


def networks(
    model: Model, structure: ModelStructure, precision: Precision, batch: int
) -> Iterator[tuple[str, nn.Module]]:
    """The variants that can be computed on the CPU."""
    for variant in model.variants():
        if variant.structure.chains and variant.structure != structure:
            continue
        if unsupported_reason(model, variant, batch, precision, CPU) is None:
            yield variant.implementation, build_model(model, variant, precision=precision)
    live = build_model(model, Variant(structure, FUSED), precision=precision)
    for module in live.modules():
        if isinstance(module, KSLinear):
            module.unfreeze()
    yield LIVE, live


def _call(network: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    return lambda: network(x)


def seconds(call: Callable[[], object]) -> float:
    """Thread CPU time of one call."""
    started = time.thread_time()
    call()
    return time.thread_time() - started


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(numerators, denominators, strict=True))


def rows(arguments: argparse.Namespace) -> Iterator[Row]:
    """The rows that the arguments select."""
    for name in arguments.model or MODELS:
        model = find_model(name)
        for structure in model.structures:
            for precision in arguments.precision or PRECISIONS:
                hopeless: set[str] = set()
                for batch in arguments.batch or BATCHES:
                    yield measure(model, structure, precision, batch, hopeless)


def main() -> None:
    """Measure and print every row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append")
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--json", action="store_true", help="one list of rows on stdout")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for row in rows(arguments):
        found.append(row)
        print(row, file=sys.stderr, flush=True)
    print(json.dumps([asdict(row) for row in found]) if arguments.json else "\n".join(map(str, found)))


if __name__ == "__main__":
    main()

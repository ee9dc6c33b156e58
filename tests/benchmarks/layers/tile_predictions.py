"""Strassen-Tile layers on the CPU: predicted as encode + core + decode, then measured.

    python -m tests.benchmarks.layers.tile_predictions [--json]

The rates of each step are fitted to layers of other inputs, outputs and rows; the predictions are printed
before any of the predicted layers is measured. One thread, thread CPU time, fp32, `batch_first`, 4 x 4 tiles.
Each row is a layer by the fused core or by stock torch (`stl_bmm`), beside the dense layer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import torch

from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.families.stl import RANKS, STOCK, TILE
from kswatch.kernels.family_layers.build import build_layer, make_input
from kswatch.kernels.layer_heuristics.parts import Part, parts_of
from kswatch.kernels.layer_heuristics.rates import PartRates, fit_parts

FACTS = {"kind": "cpu", "model": "cpu"}
FITTED = (
    (256, 256),
    (256, 1024),
    (512, 512),
    (512, 2048),
    (768, 768),
    (768, 3072),
    (2048, 512),
    (1536, 2048),
)
FITTED_ROWS = (64, 128, 256, 512, 1024)
PREDICTED = ((384, 1536), (1024, 4096))
PREDICTED_ROWS = (196, 1568)
IMPLEMENTATIONS = ("fused", STOCK)
ROUNDS = 7
ROUND_SECONDS = 0.004


@dataclass(frozen=True)
class Row:
    """One layer, in milliseconds."""

    in_features: int
    out_features: int
    rows: int
    rank: int
    implementation: str
    predicted_ms: float
    measured_ms: float | None = None
    dense_ms: float | None = None

    @property
    def error(self) -> float:
        """|predicted / measured - 1|."""
        assert self.measured_ms is not None
        return abs(self.predicted_ms / self.measured_ms - 1)

    def __str__(self) -> str:
        sides = f"{self.in_features} -> {self.out_features}"
        name = f"{sides}, {self.rows} rows, r = {self.rank}, {self.implementation}"
        if self.measured_ms is None or self.dense_ms is None:
            return f"{name:<48} predicted {self.predicted_ms:8.3f} ms"
        return (
            f"{name:<48} predicted {self.predicted_ms:8.3f} measured {self.measured_ms:8.3f} ms, error "
            f"{self.error:6.1%}; dense {self.dense_ms:8.3f} ms, {self.dense_ms / self.measured_ms:5.2f} x"
        )


def layer_of(shape: LayerShape, rank: int, implementation: str) -> tuple[Any, torch.Tensor]:
    """A frozen layer and an input."""
    generator = torch.Generator().manual_seed(rank)
    layer = build_layer(Structure("stl", (TILE, rank)), shape, implementation, generator=generator)
    return layer, make_input(shape, generator, "cpu")


def fitted() -> PartRates:
    """Rates of the steps, each measured by itself."""
    measured: list[tuple[list[Part], float]] = []
    for sides, rows, rank, name in product(FITTED, FITTED_ROWS, (8, 16, 24, 32, 48), IMPLEMENTATIONS):
        if sides[0] * sides[1] * rows * rank > 4e10 or (rank, rows) in ((8, 64), (48, 1024)):
            continue
        shape = LayerShape(*sides, rows)
        layer, x = layer_of(shape, rank, name)
        encoded = layer.encode(x)
        core = layer.multiply(encoded)
        steps = (
            lambda layer=layer, x=x: layer.encode(x),
            lambda layer=layer, encoded=encoded: layer.multiply(encoded),
            lambda layer=layer, core=core, rows=rows: layer.decode(core, rows),
        )
        parts = parts_of(Structure("stl", (TILE, rank)), shape, name, FACTS)
        measured += [([part], cost) for part, cost in zip(parts, times_ms(*steps), strict=True)]
    return fit_parts(measured)


def times_ms(*calls: Callable[[], object]) -> list[float]:
    """Medians of interleaved rounds, in milliseconds of thread CPU time."""
    repeats = []
    for call in calls:
        call()
        repeats.append(max(1, round(ROUND_SECONDS / max(1e-6, seconds(call)))))
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for found, call, count in zip(times, calls, repeats, strict=True):
            found.append(seconds(call, count))
    return [1e3 * statistics.median(found) for found in times]


def seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Mean thread CPU time of a call."""
    started = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - started) / repeats


def predicted(rates: PartRates) -> Iterator[Row]:
    """The rows, before anything of them is measured."""
    for sides, rows, rank, name in product(PREDICTED, PREDICTED_ROWS, RANKS, IMPLEMENTATIONS):
        parts = parts_of(Structure("stl", (TILE, rank)), LayerShape(*sides, rows), name, FACTS)
        cost = rates.predict(parts)
        assert cost is not None
        yield Row(*sides, rows, rank, name, cost)


def measured(row: Row) -> Row:
    """The same row with the layer's time, and the dense layer's of the same rounds."""
    shape = LayerShape(row.in_features, row.out_features, row.rows)
    layer, x = layer_of(shape, row.rank, row.implementation)
    dense = build_layer(Structure("dense"), shape, "linear", generator=torch.Generator().manual_seed(1))
    layer_ms, dense_ms = times_ms(lambda: layer(x), lambda: dense(x))
    return replace(row, measured_ms=layer_ms, dense_ms=dense_ms)


@torch.no_grad()
def main() -> None:
    """Fit, print the predictions, measure, print all rows and the median error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="one list of rows on stdout")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("measuring other layers, about a minute", file=sys.stderr, flush=True)
    rates = fitted()
    predictions = list(predicted(rates))
    print("", *predictions, sep="\n", file=sys.stderr, flush=True)
    rows = [measured(one) for one in predictions]
    if arguments.json:
        print(json.dumps([asdict(one) for one in rows]))
        return
    print(*rows, sep="\n")
    print(f"median error of {len(rows)} rows: {statistics.median(one.error for one in rows):.1%}")


if __name__ == "__main__":
    main()

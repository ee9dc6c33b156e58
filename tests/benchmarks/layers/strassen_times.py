"""A Strassen-Tile layer in one pass against the layer by its factors and by stock torch, on this CPU.

    python -m tests.benchmarks.layers.strassen_times

One thread and thread CPU time, fp32, weights frozen, medians of the ratios of interleaved rounds: above 1,
the layer is faster than that whose core is computed by `fused`.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import torch

from kswatch.kernels.families.stl import ONE_PASS, RANKS, STOCK, TILE
from kswatch.kernels.family_layers.st_linear import FUSED, STLinear
from tests.benchmarks.layers.model_times import ratio, seconds

SHAPES = ((384, 1536), (1024, 4096))
ROWS = (196, 1568)
ROUNDS = 31


def ratios(sides: tuple[int, int], rank: int, rows: int) -> dict[str, float]:
    """Times of the layer by factors over those of the two others."""
    torch.manual_seed(1)
    x = torch.randn(rows, sides[0])
    layers = {
        name: STLinear(*sides, TILE, rank, algorithm=name).freeze() for name in (FUSED, ONE_PASS, STOCK)
    }
    times: dict[str, list[float]] = {name: [] for name in layers}
    with torch.inference_mode():
        for layer in layers.values():
            layer(x)
        for _ in range(ROUNDS):
            for name, layer in layers.items():
                times[name].append(seconds(partial(layer, x)))
    return {name: ratio(times[FUSED], times[name]) for name in (ONE_PASS, STOCK)}


def main() -> None:
    """Print a row for each shape and number of rows, ranks side by side."""
    torch.set_num_threads(1)
    print(f"time by factors over that of:{'':17}" + "".join(f"r = {rank:<6}" for rank in RANKS))
    for sides, rows in product(SHAPES, ROWS):
        found = [ratios(sides, rank, rows) for rank in RANKS]
        for name in (ONE_PASS, STOCK):
            row = "".join(f"{one[name]:<10.2f}" for one in found)
            print(f"{sides[0]:>5} -> {sides[1]:<5} {rows:>5} rows  {name:<18} {row}")


if __name__ == "__main__":
    main()

"""Layers of every family on this CPU: predicted as the sum of their parts, held out by shape.

    python -m tests.benchmarks.layers.layer_predictions [--precision bf16] [--json]

Each family at 1/16 and 1/4 of the dense parameters by `fused`, by `bmm`, or as stock torch computes it. The
rates of a layer's parts are fitted to all layers of other inputs and outputs. One thread, thread CPU time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from itertools import product

import torch
from torch import nn

from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import structures
from kswatch.kernels.family_layers.build import build_layer, make_input, unsupported_reason
from kswatch.kernels.layer_heuristics.rates import LayerCell, MeasuredCell
from kswatch.kernels.layer_heuristics.score import LayerScore, held_out_by_shape, score_layers
from tests.benchmarks.layers.tile_predictions import FACTS, times_ms

SIDES = (
    (256, 256),
    (384, 384),
    (384, 1536),
    (1536, 384),
    (768, 768),
    (512, 2048),
    (1024, 1024),
    (1024, 4096),
)
ROWS = (16, 196, 784)
SHARES = (1 / 16, 1 / 4)
NAMES = ("linear", "fused", "bmm", "stl_bmm")
MOST_FLOPS = 7_000_000_000
CPU = torch.device("cpu")


def measured(shape: LayerShape) -> list[MeasuredCell]:
    """The cells of a layer, in interleaved rounds."""
    cells, calls = [], []
    for structure, name in product(structures(shape.in_features, shape.out_features, SHARES), NAMES):
        if unsupported_reason(structure, shape, name, CPU) is None:
            generator = torch.Generator().manual_seed(1)
            layer = build_layer(structure, shape, name, generator=generator)
            cells.append(LayerCell(shape, structure, name))
            calls.append(_call(layer, make_input(shape, generator, "cpu")))
    return [MeasuredCell(cell, cost) for cell, cost in zip(cells, times_ms(*calls), strict=True)]


def _call(layer: nn.Module, x: torch.Tensor) -> Callable[[], object]:
    return lambda: layer(x)


def text(score: LayerScore) -> str:
    """All figures, one a line."""
    errors = ", ".join(f"{kind} {error:.1%}" for kind, error in score.median_errors.items())
    return "\n".join(
        [
            f"{score.layers} layers, {score.cells} cells, {score.unpredicted} without a prediction",
            f"median errors: {errors}",
            f"fastest cell predicted: {score.accuracy:.3f} (most frequent kind alone: {score.majority:.3f})",
            f"regret {score.regret:.2%} (always dense: {score.majority_regret:.1%})",
            f"faster than dense or not: {score.gain_accuracy:.3f}, balanced "
            + ("-" if score.gain_balanced is None else f"{score.gain_balanced:.3f}"),
        ]
    )


@torch.no_grad()
def main() -> None:
    """Measure, predict, print the scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for sides, rows in product(SIDES, ROWS):
        shape = LayerShape(*sides, rows, arguments.precision)
        if shape.dense_flops <= MOST_FLOPS:
            found += measured(shape)
            print(f"{shape}: {len(found)} cells", file=sys.stderr, flush=True)
    score = score_layers(held_out_by_shape(found, FACTS))
    print(json.dumps(asdict(score)) if arguments.json else text(score))


if __name__ == "__main__":
    main()

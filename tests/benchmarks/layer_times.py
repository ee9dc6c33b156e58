"""Times of `KSLinear`: the default over a frozen layer, varying batches, the host time of a tiny layer.

    python -m tests.benchmarks.layer_times [--json]

Each figure is the median ratio of calls that alternate in one run: thread CPU time with one thread. The
figures of a GPU are counted from the layout of the weights, not measured.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import torch
from torch import nn

from kswatch.kernels import KSLinear
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile_candidates import choose
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem

PATTERNS = [
    *[(6, 64, 64, 1), (1, 768, 192, 2), (6, 64, 256, 1), (1, 128, 128, 3)],
    *[(64, 64, 64, 1), (16, 64, 64, 1), (1, 64, 64, 16), (1, 256, 64, 16), (1, 64, 256, 16)],
]
UP = [(6, 64, 64, 1), (1, 768, 192, 2)]
"""384 -> 1536."""
VARYING_ROWS = [64 + 37 * index for index in range(16)]
MIN_SECONDS = 0.004
"""Calls are repeated for at least this long between two looks at the clock."""


@dataclass(frozen=True)
class Ratio:
    """One line of the report."""

    name: str
    value: float
    goal: str


def ratio(call: Callable[[], object], reference: Callable[[], object], rounds: int = 15) -> float:
    """The median of the ratios of their times, in alternating order."""
    for _ in range(3):
        call(), reference()
    repeats = max(1, int(MIN_SECONDS / max(1e-7, seconds(reference, 3))))
    ratios = []
    for index in range(rounds):
        pair = (call, reference) if index % 2 else (reference, call)
        times = {each: seconds(each, repeats) for each in pair}
        ratios.append(times[call] / times[reference])
    return statistics.median(ratios)


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Mean thread CPU time of a call."""
    started = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - started) / repeats


def inference(rows: int, goal: str) -> Iterator[Ratio]:
    """Default over frozen, over all patterns, layouts and precisions."""
    for dtype in (torch.float32, torch.bfloat16):
        ratios = []
        for pattern in PATTERNS:
            for layout in ("batch_first", "batch_last"):
                default, frozen, x = pair_of_layers([pattern], layout, dtype, rows)
                with torch.no_grad():
                    ratios.append(ratio(lambda d=default, x=x: d(x), lambda f=frozen, x=x: f(x)))
        name = f"inference, default over frozen, {rows} rows, {str(dtype)[6:]}"
        yield Ratio(f"{name}, median of {len(ratios)}", statistics.median(ratios), goal)
        yield Ratio(f"{name}, maximum", max(ratios), goal)


def training(rows: int, goal: str) -> Iterator[Ratio]:
    """Forward and backward: the default over a layer frozen in evaluation mode, which keeps K and Kᵀ."""
    for dtype in (torch.float32, torch.bfloat16):
        ratios = []
        for pattern in PATTERNS:
            for layout in ("batch_first", "batch_last"):
                default, frozen, x = pair_of_layers([pattern], layout, dtype, rows)
                x.requires_grad_()
                steps = [training_step(layer, x) for layer in (default.train(), frozen)]
                ratios.append(ratio(*steps, rounds=9))
        name = f"training, default over kept products, {rows} rows, {str(dtype)[6:]}"
        yield Ratio(f"{name}, median of {len(ratios)}", statistics.median(ratios), goal)
        yield Ratio(f"{name}, maximum", max(ratios), goal)


def training_step(layer: KSLinear, x: torch.Tensor) -> Callable[[], object]:
    """A forward and a backward."""
    inputs = [x, *layer.parameters()]
    y = layer(x)
    gradient = torch.ones_like(y)
    return lambda: torch.autograd.grad(layer(x), inputs, gradient)


def pair_of_layers(
    chain: list[tuple[int, int, int, int]], layout: str, dtype: torch.dtype, rows: int
) -> tuple[KSLinear, KSLinear, torch.Tensor]:
    """Two layers with equal weights, one frozen, and an input."""
    default = KSLinear(chain, layout=layout, dtype=dtype).eval()
    frozen = KSLinear(chain, layout=layout, dtype=dtype).eval()
    frozen.load_state_dict(default.state_dict())
    shape = (rows, default.in_features) if layout == "batch_first" else (default.in_features, rows)
    return default, frozen.freeze(), torch.randn(shape, dtype=dtype)


def varying_sizes() -> Iterator[Ratio]:
    """16 row counts in turn over the same calls with each row count repeated; the growth of memory."""
    layer = KSLinear(UP).eval()
    inputs = [torch.randn(rows, 384) for rows in VARYING_ROWS]
    with torch.no_grad():
        layer(inputs[0])
        before = resident_bytes()
        for x in inputs * 3:
            layer(x)
        growth = (resident_bytes() - before) / sum(weight.nbytes for weight in layer.factors.parameters())
        turn = cycle(inputs)
        varying = [seconds(lambda: layer(next(turn)), 16) for _ in range(9)]
        fixed = [statistics.mean(seconds(lambda x=x: layer(x), 3) for x in inputs) for _ in range(9)]
    value = statistics.median(varying) / statistics.median(fixed)
    yield Ratio("384 -> 1536, 16 row counts in turn over fixed ones", value, "<= 1.1")
    yield Ratio("its memory grown by, in sizes of its weights", growth, "< 1")


def resident_bytes() -> int:
    """Memory of this process."""
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


def tiny_layer() -> Iterator[Ratio]:
    """Host time of a forward of 16 x 16 with 4 rows, over `nn.Linear`."""
    default, frozen, x = pair_of_layers([(1, 16, 16, 1)], "batch_first", torch.float32, 4)
    linear = nn.Linear(16, 16)
    layers = {"default": (default, frozen.eval()), "frozen": (frozen, frozen)}
    for mode, goal in (("without gradients", 1.3), ("with gradients", 2.0), ("compiled", 1.5)):
        calls = {name: forward(layer, x, mode) for name, (layer, _) in layers.items()}
        reference = forward(linear, x, mode)
        for name, call in calls.items():
            value = ratio(call, reference, rounds=31)
            yield Ratio(
                f"tiny forward {mode}, {name} over nn.Linear",
                value,
                f"<= {goal}" if name == "default" else "",
            )


def forward(layer: nn.Module, x: torch.Tensor, mode: str) -> Callable[[], object]:
    """A forward of a layer in a mode of `tiny_layer`."""
    run = torch.compile(layer) if mode == "compiled" else layer

    def without_gradients() -> object:
        with torch.no_grad():
            return run(x)

    return (lambda: run(x)) if mode == "with gradients" else without_gradients


def gpu_bytes() -> Iterator[Ratio]:
    """Bytes and launches of laying out the weights at each call, 25,088 rows on an sm_90, from the tile.

    Each weight is read and written once, with the index of its place: 4 bytes, or 8 where the tile pads,
    which also takes a second launch that writes zeros.
    """
    for precision in ("fp32", "fp16"):
        shares, launches = [], []
        for pattern in map(lambda sizes: Pattern(*sizes), PATTERNS):
            for layout in LAYOUTS:
                problem = Problem(pattern, 25_088, precision, layout)
                tile = choose(problem, GpuProperties(90))
                pads = bool(pattern.b % tile.rows or pattern.c % tile.depth or pattern.d % tile.neighbours)
                extra = pattern.nonzeros * (2 * problem.element_bytes + (8 if pads else 4))
                shares.append(100 * extra / problem.compulsory_bytes)
                launches.append(2 if pads else 1)
        yield Ratio(f"GPU, bytes of laying out the weights, {precision}, maximum in %", max(shares), "<= 5")
        yield Ratio(f"GPU, launches of laying out the weights, {precision}, maximum", max(launches), "<= 1")


def main() -> None:
    """Print all figures."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    figures = [
        *(lambda: inference(128, "<= 1.1"), lambda: inference(512, "<= 1.05")),
        *(lambda: training(512, "<= 1.1"), varying_sizes, tiny_layer, gpu_bytes),
    ]
    wanted = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    for figure in figures:
        for line in figure():
            if not wanted or any(word in line.name for word in wanted):
                text = f"{line.name:<75}{line.value:>8.3f} {line.goal}"
                print(json.dumps(asdict(line)) if "--json" in sys.argv else text, flush=True)


if __name__ == "__main__":
    main()

"""Chains in one pass against two calls of the twin: CPU time of one thread, interleaved, medians of ratios.

    python -m tests.benchmarks.layers.chain_times
    python -m tests.benchmarks.layers.chain_times --rows 1 --precision bf16 --layout batch_last

Beside each ratio stands the bound that a copy of the intermediate gives: the time of two calls over that
time less one copy of the intermediate within the cache's reach, which is what one pass can save at most. At
one row a last figure is the host time of one pass, less that of the C++ within, over that of two calls.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch

from kswatch.kernels.families.ks import PUBLISHED
from kswatch.kernels.fused.cpu_twin import chain, twin
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Layout, Precision, Problem

ROUNDS = 15
LEAST_S = 0.02
"""CPU time of a timing: small products are repeated."""


@dataclass(frozen=True)
class Row:
    """One chain: milliseconds of two calls, the ratio of their time to that of one pass, and its bound."""

    patterns: tuple[Pattern, Pattern]
    batch: int
    precision: Precision
    layout: Layout
    tile: int
    is_chosen: bool
    """Whether a layer takes one pass; else the tile is the whole batch."""
    two_calls_ms: float
    ratio: float
    bound: float
    host: float | None
    """At one row: time outside of the C++, over that of two calls."""

    @property
    def facts(self) -> dict[str, object]:
        """Of a line of JSON."""
        chain, width = ";".join(map(str, self.patterns)), self.patterns[0].rows
        numbers = {"ratio": self.ratio, "bound": self.bound, "host": self.host}
        return {
            "chain": chain,
            "intermediate": width,
            "rows": self.batch,
            "chosen": self.is_chosen,
            **numbers,
        }

    def __str__(self) -> str:
        name = ";".join(map(str, self.patterns))
        host = "" if self.host is None else f"  host {self.host:.2f}"
        chosen = "" if self.is_chosen else "  a layer takes two calls"
        return (
            f"{name:34} {self.batch:6} {self.precision:4} {self.layout:11} tile {self.tile:6} "
            f"{self.two_calls_ms:9.3f} ms  {self.ratio:.3f} (bound {self.bound:.3f}){host}{chosen}"
        )


def measure(
    patterns: tuple[Pattern, Pattern],
    batch: int,
    precision: Precision,
    layout: Layout,
    tile: int | None = None,
) -> Row:
    """The row of one chain."""
    first, second = (Problem(pattern, batch, precision, layout) for pattern in patterns)
    dtype = STORAGE_DTYPES[precision]
    packed = tuple(
        twin.lay_out(one, torch.randn(one.pattern.as_tuple()).to(dtype)) for one in (first, second)
    )
    x = torch.randn(first.input_shape).to(dtype)
    one, other = (
        twin.product(problem, words) for problem, words in zip((first, second), packed, strict=True)
    )
    chosen = tile or chain.tile_size(first, second)
    tile = chosen or batch
    in_one_pass = chain.product((first, second), (packed[0], packed[1]), tile)
    between = one(x)
    copied = torch.empty_like(between)
    calls: dict[str, Callable[[], object]] = {
        "two calls": lambda: other(one(x)),
        "one pass": lambda: in_one_pass(x),
        "copy": lambda: copied.copy_(between),
    }
    if batch == 1:
        calls |= _inner_calls((packed[0], packed[1]), in_one_pass, x, between, in_one_pass(x))
    times = interleaved(calls)
    ratios = [two / one_pass for two, one_pass in zip(times["two calls"], times["one pass"], strict=True)]
    two = median(times["two calls"])
    bound = two / max(two - median(times["copy"]), 1e-9)
    host = _host_ratio(times) if batch == 1 else None
    found = patterns[0], patterns[1]
    is_chosen = chosen is not None
    return Row(found, batch, precision, layout, tile, is_chosen, 1e3 * two, median(ratios), bound, host)


def _inner_calls(
    packed: tuple[twin.PackedWeights, twin.PackedWeights],
    in_one_pass: chain.ChainProduct,
    x: torch.Tensor,
    between: torch.Tensor,
    y: torch.Tensor,
) -> dict[str, Callable[[], object]]:
    """The calls of the library alone, on operands that exist, and are kept alive by the calls."""
    functions = packed[0].plan.functions
    whole = ctypes.addressof(in_one_pass.kept_alive[0])  # type: ignore[attr-defined]
    first, second = ((one.plan.address, one.words.data_ptr()) for one in packed)
    multiply, multiply_chain = functions.kswatch_twin_multiply, functions.kswatch_twin_multiply_chain

    def two() -> None:
        multiply(*first, x.data_ptr(), between.data_ptr(), 1, 1)
        multiply(*second, between.data_ptr(), y.data_ptr(), 1, 1)

    return {
        "within two": two,
        "within one": lambda: multiply_chain(whole, None, x.data_ptr(), y.data_ptr(), 1, 1),
    }


def _host_ratio(times: dict[str, list[float]]) -> float:
    """Time outside of the library: of one pass over that of two calls."""
    names = ("one pass", "within one", "two calls", "within two")
    rounds = zip(*(times[name] for name in names), strict=True)
    return median((one - in_one) / (two - in_two) for one, in_one, two, in_two in rounds)


def interleaved(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """CPU seconds of each call in each round, the order reversed in every other round."""
    repeats = {name: max(1, round(LEAST_S / _seconds(call, 1))) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS):
        for name in list(calls) if number % 2 else reversed(calls):
            times[name].append(_seconds(calls[name], repeats[name]))
    return times


def _seconds(call: Callable[[], object], repeats: int) -> float:
    call()
    began = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - began) / repeats


def rows(arguments: argparse.Namespace) -> Iterator[Row]:
    """All published chains at each number of rows."""
    for layout in arguments.layout:
        for precision in arguments.precision:
            for batch in arguments.rows:
                for patterns in PUBLISHED:
                    yield measure((patterns[0], patterns[1]), batch, precision, layout)


def main() -> None:
    """Print one row after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_568, 6_272])
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--layout", nargs="+", default=list(LAYOUTS), choices=LAYOUTS)
    parser.add_argument("--json", action="store_true", help="one object for each row, on a line of its own")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = []
    for row in rows(arguments):
        found.append(row)
        print(json.dumps(row.facts) if arguments.json else row, flush=True)
    if arguments.json:
        return
    wide = [row.ratio for row in found if row.patterns[0].rows == 4096]
    others = [row.ratio for row in found if row.patterns[0].rows != 4096]
    for name, ratios in (("intermediate of 4,096", wide), ("all others", others)):
        if ratios:
            print(f"{name}: least {min(ratios):.3f}, median {median(ratios):.3f} of {len(ratios)} rows")


if __name__ == "__main__":
    main()

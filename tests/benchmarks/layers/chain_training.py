"""A training step of chains in one pass, which computes the intermediate again, against one that keeps it.

    python -m tests.benchmarks.layers.chain_training
    python -m tests.benchmarks.layers.chain_training --rows 196

CPU time of one thread of forward and backward pass, interleaved, medians of ratios; and the megabytes that
autograd saves in each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch

from kswatch.declared.implementations import FUSED_CHAIN
from kswatch.kernels.families.ks import PUBLISHED
from kswatch.kernels.linear import KSLinear
from tests.benchmarks.layers.chain_times import interleaved

KEPT, COMPUTED = "kept", "computed again"


def saved_mb(layer: KSLinear, x: torch.Tensor) -> float:
    """Of tensors that autograd saves in a forward pass, besides the parameters, each counted once."""
    parameters = {weight.data_ptr() for weight in layer.parameters()}
    found: dict[int, int] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in parameters:
            found[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        y = layer(x)
    del y
    return sum(found.values()) / 1e6


def step(layer: KSLinear, x: torch.Tensor) -> Callable[[], None]:
    """A forward and a backward pass, with gradients of x and all parameters."""

    def call() -> None:
        layer.zero_grad()
        layer(x).square().sum().backward()
        x.grad = None

    return call


def main() -> None:
    """Print one row for each published chain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[196, 1_568])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for rows in arguments.rows:
        for chain in PUBLISHED:
            x = torch.randn(rows, chain[0].columns, requires_grad=True)
            layers = {
                name: KSLinear(chain, algorithm=FUSED_CHAIN, keep_intermediate=name == KEPT)
                for name in (KEPT, COMPUTED)
            }
            times = interleaved({name: step(layer, x) for name, layer in layers.items()})
            ratio = median(again / kept for kept, again in zip(times[KEPT], times[COMPUTED], strict=True))
            megabytes = {name: saved_mb(layer, x) for name, layer in layers.items()}
            print(
                f"{';'.join(map(str, chain)):34} {rows:6} {1e3 * median(times[KEPT]):9.3f} ms  "
                f"x {ratio:.3f}  saves {megabytes[COMPUTED]:.2f} of {megabytes[KEPT]:.2f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()

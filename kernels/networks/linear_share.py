"""The share of a forward's time that is spent in linear layers, from one forward of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from kswatch.kernels.linear import KSLinear
from kswatch.kernels.networks.gpt2 import TransposedLinear

LINEAR = (nn.Linear, TransposedLinear, KSLinear)


@dataclass
class _Clock:
    """Times of the calls of modules: by events on a GPU, processor time of a single thread, else wall."""

    is_cuda: bool
    calls: list[tuple[Any, Any]] = field(default_factory=list)
    started: Any = None

    def now(self) -> Any:  # noqa: ANN401
        if not self.is_cuda:
            return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def begin(self, *_: object) -> None:
        self.started = self.now()

    def end(self, *_: object) -> None:
        self.calls.append((self.started, self.now()))

    def seconds(self, start: Any, end: Any) -> float:  # noqa: ANN401
        return float(start.elapsed_time(end)) / 1e3 if self.is_cuda else float(end - start)


@torch.no_grad()
def linear_share(network: nn.Module, x: torch.Tensor, warm_up: bool = True) -> float:
    """Time in linear layers (dense ones and chains) over that of the whole forward, from 0 to 1.

    Runs one forward with hooks, which make it slower: never one that is timed. `warm_up` runs one before,
    which a network needs that has not run yet.
    """
    if warm_up:
        network(x)
    clock = _Clock(x.is_cuda)
    with ExitStack() as hooks:
        for module in network.modules():
            if isinstance(module, LINEAR):
                _hook(hooks, module.register_forward_pre_hook, clock.begin)
                _hook(hooks, module.register_forward_hook, clock.end)
        start = clock.now()
        network(x)
        end = clock.now()
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    linear_s = sum(clock.seconds(*call) for call in clock.calls)
    return linear_s / clock.seconds(start, end)


def _hook(hooks: ExitStack, register: Callable[[Any], Any], function: Callable[..., None]) -> None:
    handle = register(function)
    hooks.callback(partial(handle.remove))

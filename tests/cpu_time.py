"""Processor time of an action, for verdicts that other work on the machine must not change."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable


def least_cpu_s(action: Callable[[], object], repeats: int = 3) -> float:
    """The least CPU seconds that this thread spends on one call of action; see `cpu_times_s`."""
    return min(cpu_times_s([action] * repeats))


def cpu_times_s(actions: Iterable[Callable[[], object]]) -> list[float]:
    """The CPU seconds that this thread spends on each action.

    Other threads of the process do not count, and garbage that earlier tests left is not collected meanwhile:
    it is collected once before, which takes half a second after the imports of torch.
    """
    gc.collect()
    gc.disable()
    try:
        return [_cpu_s(action) for action in actions]
    finally:
        gc.enable()


def _cpu_s(action: Callable[[], object]) -> float:
    began = time.thread_time()
    action()
    return time.thread_time() - began

"""Processor time of an action, for verdicts that other work on the machine must not change."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def least_cpu_s(action: Callable[[], object], repeats: int = 3) -> float:
    """The least CPU seconds that this thread spends on one call of action.

    Other threads of the process do not count, and garbage that earlier tests left is not collected meanwhile.
    """
    gc.collect()
    gc.disable()
    try:
        return min(_cpu_s(action) for _ in range(repeats))
    finally:
        gc.enable()


def _cpu_s(action: Callable[[], object]) -> float:
    began = time.thread_time()
    action()
    return time.thread_time() - began

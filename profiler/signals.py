"""A polite end: SIGINT and SIGTERM ask a run to stop, a second one stops it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 (not an error: somebody asked for it)
    """A problem was given up because the run was asked to stop; nothing of it is recorded."""


class EitherStop(threading.Event):
    """Set by itself, for one run, or by the stop of the process that runs it."""

    def __init__(self, outer: threading.Event) -> None:
        super().__init__()
        self._outer = outer

    def is_set(self) -> bool:
        """Whether either asked to stop."""
        return super().is_set() or self._outer.is_set()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the former handlers come back with the second.

    Outside the main thread, where Python allows no handlers, the event is simply never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    former = {number: signal.getsignal(number) for number in _SIGNALS}

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()
        _restore()

    def _restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    for number in _SIGNALS:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        _restore()

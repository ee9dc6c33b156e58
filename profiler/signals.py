"""Graceful stop: the first SIGINT or SIGTERM requests a stop of the run, a second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_INTERRUPTED = 130
"""Exit code of a command that a signal has stopped: 128 + SIGINT, as shells have it."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):  # noqa: N818 (not an error: the stop was requested)
    """A problem was abandoned because of a stop request; none of its cells is recorded."""


class EitherStop(threading.Event):
    """A stop event of one run that is also set by the stop event of its process."""

    def __init__(self, outer: threading.Event) -> None:
        super().__init__()
        self._outer = outer

    def is_set(self) -> bool:
        """Whether either event is set."""
        return super().is_set() or self._outer.is_set()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the previous handlers are restored for the second.

    Outside the main thread, where Python allows no handlers, the event is simply never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    former = {number: signal.getsignal(number) for number in _SIGNALS}

    def request_stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()
        _restore()

    def _restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    for number in _SIGNALS:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        _restore()

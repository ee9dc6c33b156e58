"""Tries foreign code in a child process of its own: a module that hangs or exits costs nothing else."""

from __future__ import annotations

import threading
from contextlib import closing

from kswatch.profiler.child_process import ChildLostError, ChildProcess
from kswatch.profiler.foreign.sources import ForeignSource, Trial

TRIAL_S = 60.0
"""Limit of an import; importing torch on a busy machine can take some seconds."""
_MODULE = "kswatch.profiler.foreign.trial_main"


def try_out(source: ForeignSource, stop: threading.Event | None = None, limit_s: float = TRIAL_S) -> Trial:
    """Import it in a child process.

    Raises:
        Stopped: the stop event was set meanwhile.
    """
    with closing(ChildProcess(_MODULE, (), stop or threading.Event())) as child:
        try:
            child.send(source)
            trial: Trial = child.receive(limit_s)
        except ChildLostError as error:
            return Trial(f"{source.in_words} cannot be imported: {error}")
    return trial

"""The lease of a device: the process that holds it, by a name that another process can check."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from kswatch.db.coordination import leases
from kswatch.db.coordination.leases import Held
from kswatch.db.store import Store
from kswatch.errors import KswatchError

_HOLDER = re.compile(r"process (\d+) of (\S+) since ([\d-]+ [\d:]+) UTC")
_START_TIME = "%Y-%m-%d %H:%M:%S"


@contextmanager
def hold_device(store: Store, device_uuid: str, timeout_s: float) -> Iterator[Held]:
    """Hold the device; the lease lasts `timeout_s` without a heartbeat.

    The lease of a process of this host that was killed is taken over at once.

    Raises:
        MeasurementError: another process holds it; the message names it.
    """
    held = leases.acquire(store, device_uuid, this_process(), timeout_s, is_dead=has_ended)
    try:
        yield held
    finally:
        with suppress(KswatchError):
            leases.release(store, held)


def this_process() -> str:
    """The name of this process, in which `has_ended` and a reader can recognise it."""
    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC).strftime(_START_TIME)
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:100]
    return f"process {os.getpid()} of {socket.gethostname()} since {started} UTC ({command})"


def has_ended(holder: str) -> bool:
    """Whether the holder is a process of this host that has ended; its start time reveals a reused id."""
    known = _HOLDER.match(holder)
    if known is None or known[2] != socket.gethostname():
        return False
    try:
        started = psutil.Process(int(known[1])).create_time()
    except psutil.NoSuchProcess:
        return True
    recorded = datetime.strptime(known[3], _START_TIME).replace(tzinfo=UTC)
    return abs(started - recorded.timestamp()) > 2

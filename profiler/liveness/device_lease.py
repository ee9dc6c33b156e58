"""Who holds a device for its runs: this process, by a lease in the store that names it."""

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
_BORN = "%Y-%m-%d %H:%M:%S"


@contextmanager
def holding(store: Store, device_uuid: str, silent_s: float) -> Iterator[Held]:
    """Hold the device; a holder that was killed on this host is followed at once.

    Args:
        store: Whose runs the device is held for.
        device_uuid: Which device.
        silent_s: How long the lease lasts without a heartbeat.

    Raises:
        MeasurementError: another process holds it; the message names it.
    """
    held = leases.acquire(store, device_uuid, this_process(), silent_s, gone=is_gone)
    try:
        yield held
    finally:
        with suppress(KswatchError):
            leases.release(store, held)


def this_process() -> str:
    """This process, told so that `is_gone` knows it again and a reader can find it."""
    born = datetime.fromtimestamp(psutil.Process().create_time(), UTC).strftime(_BORN)
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:100]
    return f"process {os.getpid()} of {socket.gethostname()} since {born} UTC ({command})"


def is_gone(holder: str) -> bool:
    """Whether the holder was a process of this host that is no more; the time of birth tells a reused id."""
    known = _HOLDER.match(holder)
    if known is None or known[2] != socket.gethostname():
        return False
    try:
        born = psutil.Process(int(known[1])).create_time()
    except psutil.NoSuchProcess:
        return True
    said = datetime.strptime(known[3], _BORN).replace(tzinfo=UTC)
    return abs(born - said.timestamp()) > 2

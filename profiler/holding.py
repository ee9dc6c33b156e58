"""One run at a time on a device, one server at a time on a store: who comes second is told who was first."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kswatch_errors import MeasurementError


@contextmanager
def held(thing: str, store_name: str) -> Iterator[None]:
    """Hold a thing, such as a device, for runs of this store on this host.

    The system lets go of it when the process ends, even by kill -9.

    Raises:
        MeasurementError: another process holds it; the message names it.
    """
    name = hashlib.sha256(f"{thing} {store_name}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"kswatch-{name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
            raise MeasurementError(f"{thing} is in use by {holder}; wait for it to end, or end it") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} ({' '.join(sys.argv)[:120]})".encode(), 0)
        yield
    finally:
        os.close(descriptor)

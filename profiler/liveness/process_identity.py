"""The name of a process, by which another process can decide whether it has ended.

A process id alone proves nothing: it is reused, it means another process in another PID namespace, and
another machine may have the same host name. The start time by the wall clock moves when the clock is
corrected. So a name holds the boot id, the PID namespace and the start in ticks since boot; a process of any
other boot or namespace is judged by its heartbeat alone.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

_IDENTITY = re.compile(r"process (\d+) of .* \[([0-9a-f]+)\.(\d+)\.(\d+)\]")
_ENDED_STATES = frozenset("ZX")
_LONGEST_COMMAND = 90


def this_process() -> str:
    """The name of this process, at most 255 characters, which `has_ended` and a reader recognise."""
    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    pid, host = os.getpid(), _printable(socket.gethostname())[:60]
    identity = f"{_boot()}.{_namespace()}.{_start_ticks(pid)}"
    command = _printable(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))[:_LONGEST_COMMAND]
    return f"process {pid} of {host} since {started:%Y-%m-%d %H:%M:%S} UTC [{identity}] ({command})"


def has_ended(name: str) -> bool:
    """Whether the name is of a process of this boot and PID namespace that has ended.

    False for any other process: whether that is alive, only its heartbeat shows.
    """
    known = _IDENTITY.match(name)
    if known is None or (known[2], int(known[3])) != (_boot(), _namespace()):
        return False
    pid, start = int(known[1]), int(known[4])
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # another user's, which may be hidden from this one
    state = _stat(pid)
    return state is not None and (state[0] in _ENDED_STATES or int(state[19]) != start)


def _boot() -> str:
    """The first digits of the id of this boot; of the boot's time where the kernel has none."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")[:12]
    return f"{int(psutil.boot_time()):x}"


def _namespace() -> int:
    with suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino
    return 0


def _start_ticks(pid: int) -> int:
    state = _stat(pid)
    return int(state[19]) if state else 0


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; None where it is hidden, or there is no /proc."""
    with suppress(OSError):
        # The command's name, in parentheses, may hold anything.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return None


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)

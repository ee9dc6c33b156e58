"""Runs command lines one after another in this process, each within a time limit.

Reads one JSON object per line, `{"arguments": [...], "environment": {...}}`, and answers each with
`{"code": ..., "stdout": ..., "stderr": ..., "seconds": ...}`; the code is "hang" beyond the limit.
"""

from __future__ import annotations

import faulthandler
import io
import json
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from types import FrameType
from typing import Any

from tests.robustness.fuzz.cases import Hang, within_cpu_limit

WAITS_S = 120
"""Of a command that uses no CPU: the machine may be busy."""


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Hang


def _stream() -> io.TextIOWrapper:
    """A text stream to a temporary file, as a terminal's or a pipe's would be."""
    return io.TextIOWrapper(tempfile.TemporaryFile(), encoding="utf-8", errors="backslashreplace")


def _content(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.buffer.seek(0)
    return stream.buffer.read().decode("utf-8", "backslashreplace")


def _exit_code() -> Any:
    from kswatch import cli

    try:
        cli.main()
    except SystemExit as ended:
        return ended.code
    except Hang:
        traceback.print_exc()
        return "hang"
    except BaseException:
        traceback.print_exc()
        return "escaped"
    return None


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Run one command line."""
    kept = dict(os.environ), sys.stdout, sys.stderr, sys.argv
    out, err = _stream(), _stream()
    os.environ.update(job.get("environment", {}))
    sys.stdout, sys.stderr, sys.argv = out, err, ["kswatch", *job["arguments"]]
    began = time.process_time()
    signal.setitimer(signal.ITIMER_REAL, WAITS_S)
    faulthandler.dump_traceback_later(WAITS_S + 30, exit=True)  # code that no signal interrupts
    try:
        with within_cpu_limit():
            code = _exit_code()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        sys.stdout, sys.stderr, sys.argv = kept[1:]
        os.environ.clear()
        os.environ.update(kept[0])
        logging.getLogger().handlers.clear()
    seconds = time.process_time() - began
    return {"code": code, "stdout": _content(out), "stderr": _content(err), "seconds": seconds}


def main() -> None:
    """Answer each line of stdin."""
    import torch  # noqa: F401  (before any limit: half of it cannot be loaded again)
    import typer.main

    from kswatch import cli

    cli.app = typer.main.get_command(cli.app)  # type: ignore[assignment]  (made once)
    os.execve = lambda *_arguments: sys.exit(0)  # type: ignore[assignment,return-value]
    signal.signal(signal.SIGALRM, _stop)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a command's own processes write
    for line in sys.stdin:
        replies.write(json.dumps(answer(json.loads(line))) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()

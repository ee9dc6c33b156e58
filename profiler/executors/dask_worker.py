"""A Dask worker process for one device: `python -m kswatch.profiler.executors.dask_worker SCHEDULER DEVICE`.

`kswatch worker` starts one per device; it ends when that command does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading

from kswatch.errors import KswatchError
from kswatch.profiler.executors import dask_tasks as distant
from kswatch.profiler.liveness.heartbeat import worker_name

EXIT_NO_DEVICE = 3
"""Nothing that a restart would cure."""


async def serve(scheduler: str, spec: str) -> None:
    """Do tasks for the scheduler until it is gone; one at a time, and none that is for another device."""
    from distributed import Worker

    logging.getLogger("distributed").setLevel(logging.ERROR)  # its import sets another level
    uuid = distant.take_up(spec).record.uuid
    async with Worker(
        scheduler,
        # a killed one may return before the scheduler knows that it is gone
        name=f"{worker_name(socket.gethostname(), uuid)} {os.getpid()}",
        nthreads=1,
        resources={uuid: 1},
        memory_limit=0,
        dashboard=False,
        death_timeout=60,
    ) as worker:
        print(f"kswatch worker: {uuid} serves {scheduler}", file=sys.stderr, flush=True)
        await worker.finished()


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin: its lock is in the way when the process ends by itself
        pass
    os._exit(0)


def main() -> None:
    """Serve the device that the arguments name."""
    if os.environ.pop("KSWATCH_ENDS_WITH_STDIN", None):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        asyncio.run(serve(*sys.argv[1:3]))
    except KswatchError as error:
        print(f"kswatch worker: {error}", file=sys.stderr)
        sys.exit(EXIT_NO_DEVICE)
    except (OSError, TimeoutError) as error:
        print(f"kswatch worker: no scheduler answers at {sys.argv[1]}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

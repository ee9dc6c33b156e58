"""A Dask worker process for one device: `python -m ...dask_worker SCHEDULER DEVICE HOST`.

`kswatch worker` starts one per device; it ends when that command does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence

from kswatch.errors import KswatchError
from kswatch.logs import configure_as, quiet_libraries
from kswatch.profiler.executors import dask_tasks, dask_version
from kswatch.profiler.foreign.sources import Foreign
from kswatch.profiler.liveness.heartbeat import worker_name

_log = logging.getLogger("kswatch.profiler.executors.dask_worker")  # not `__main__`

EXIT_NO_DEVICE = 3
"""Nothing that a restart would cure."""


async def serve(scheduler: str, spec: str, host: str, foreign: Sequence[str] = ()) -> None:
    """Execute tasks of the scheduler until it is gone; one at a time, and only those for this device.

    `host` is the one address of this machine to listen on; `foreign` are the names of the foreign
    implementations that may be measured here.
    """
    from distributed import Worker

    class DeviceWorker(Worker):
        """A worker without pages, which would listen on a port of their own."""

        def start_http_server(self, *arguments: object, **options: object) -> None:
            """Start none."""

    quiet_libraries()  # the import above set up a log of its own
    logging.getLogger("distributed").setLevel(logging.ERROR)
    logging.getLogger("distributed.core").addFilter(dask_version.filter_version_refusal)
    uuid = dask_tasks.bind_device(spec, Foreign(tuple(foreign))).record.uuid
    version = dask_version.own_version()
    async with DeviceWorker(
        scheduler,
        host=host,
        # a killed one may return before the scheduler knows that it is gone
        name=f"{worker_name(socket.gethostname(), uuid)} {os.getpid()}",
        nthreads=1,
        resources={uuid: 1},
        startup_information={dask_version.KEY: lambda worker: version},
        memory_limit=0,
        dashboard=False,
        death_timeout=60,
    ) as worker:
        _log.info("%s serves %s", uuid, scheduler, extra={"device": uuid})
        await worker.finished()


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin: its lock is in the way when the process ends by itself
        pass
    os._exit(0)


def main() -> None:
    """Serve the device of the arguments: SCHEDULER DEVICE HOST [LOG_FORMAT LOG_LEVEL [FOREIGN]...]."""
    if os.environ.pop("KSWATCH_ENDS_WITH_STDIN", None):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    configure_as(*(sys.argv[4:6] or ("text", "INFO")))
    try:
        scheduler, spec, host = sys.argv[1:4]
        asyncio.run(serve(scheduler, spec, host, sys.argv[6:]))
    except KswatchError as error:
        _log.error("%s", error, extra={"device": sys.argv[2]})
        sys.exit(EXIT_NO_DEVICE)
    except (OSError, TimeoutError) as error:
        _log.error("no scheduler answers at %s: %s", sys.argv[1], error, extra={"device": sys.argv[2]})
        sys.exit(1)


if __name__ == "__main__":
    main()

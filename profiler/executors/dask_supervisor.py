"""One Dask worker process per device of this host, started again when it dies."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable, Sequence

from kswatch import logs
from kswatch.errors import ConfigurationError, MeasurementError
from kswatch.profiler.child_process import child_environment, python_command
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.executors.dask_worker import EXIT_NO_DEVICE

_log = logging.getLogger(__name__)

RESTART_S = 2.0


def serve_devices(
    scheduler: str,
    targets: Sequence[Target],
    stop: threading.Event,
    host: str,
    on_step: Callable[[], None] = lambda: None,
    foreign: Sequence[str] = (),
) -> None:
    """Keep a worker for each device, listening on `host` alone, until the stop event is set.

    `on_step` is called each time that the workers were looked after; `foreign` are the names of the foreign
    implementations that they may measure.

    Raises:
        ConfigurationError: Dask is not installed.
        MeasurementError: a device cannot be used.
    """
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"a worker needs the Python package {error.name}; install kswatch[cluster]"
        ) from None
    processes = {target.record.uuid: _start(scheduler, target, host, foreign) for target in targets}
    try:
        while not stop.wait(RESTART_S):
            on_step()
            for target in targets:
                uuid = target.record.uuid
                code = processes[uuid].poll()
                if code == EXIT_NO_DEVICE:
                    raise MeasurementError(f"device {target.spec} cannot be served; see the log line before")
                if code is not None:
                    _log.warning("its worker ended (%s); starting another", code, extra={"device": uuid})
                    processes[uuid] = _start(scheduler, target, host, foreign)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()


def _start(scheduler: str, target: Target, host: str, foreign: Sequence[str]) -> subprocess.Popen[bytes]:
    """A worker that sees its own GPU alone, and ends when this process does."""
    on_gpu = target.record.kind == "cuda" and not target.record.simulated
    variables = {"CUDA_VISIBLE_DEVICES": target.record.uuid} if on_gpu else {}
    module, arguments = "kswatch.profiler.executors.dask_worker", (scheduler, target.spec, host)
    return subprocess.Popen(
        python_command(module, *arguments, *logs.arguments(), *foreign),
        env=child_environment({**variables, "KSWATCH_ENDS_WITH_STDIN": "1"}),
        stdin=subprocess.PIPE,
        start_new_session=True,
    )

"""The measuring child process: executes its parent's tasks on one device; never opens the store."""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from kswatch.db.records import is_foreign
from kswatch.errors import KswatchError
from kswatch.kernels.baselines.rival_libraries import rival_versions
from kswatch.profiler.backends.base import Backend
from kswatch.profiler.child_process import exit_with_parent
from kswatch.profiler.devices.environment import environment
from kswatch.profiler.executors.base import Answer, Begin, Failure, MeasurementSite, MeasureTask, Task
from kswatch.profiler.executors.watchdog_page import WatchdogPage
from kswatch.profiler.foreign.sources import versions
from kswatch.profiler.measurement.backend_factory import backend_for
from kswatch.profiler.measurement.cells_by_name import cell_by_name
from kswatch.profiler.measurement.foreign_implementation import ForeignImplementation
from kswatch.profiler.measurement.loop import measure_canaries, measure_problem


@exit_with_parent()
def main() -> None:
    """Execute tasks until the parent is gone; file descriptors of pipe and page are the arguments."""
    connection, page = Connection(int(sys.argv[1])), WatchdogPage(int(sys.argv[2]))
    begin: Begin = connection.recv()
    try:
        site = MeasurementSite(begin.target.record, environment(begin.target), _libraries(begin))
        worker = _Worker(begin, page)
    except KswatchError as error:
        connection.send(Failure(str(error)))
        return
    except Exception as error:  # whatever a driver raises for a GPU that is gone
        connection.send(Failure(f"{type(error).__name__}: {error}"))
        return
    gc.collect()
    gc.freeze()  # what is here stays: each problem, and each graph that torch captures, collects garbage
    connection.send(Answer(site=site))
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
    while True:
        connection.send(worker.execute(tasks.get()))


def _libraries(begin: Begin) -> dict[str, object]:
    """Versions of the libraries of the rivals that a real device can have, and of foreign implementations."""
    device = begin.target.record
    return {**({} if device.simulated else rival_versions(device.kind)), **dict(versions(begin.foreign))}


def _receive(connection: Connection, tasks: queue.SimpleQueue[Task]) -> None:
    # Reading all the time is what notices at once that the parent was killed, even while measuring.
    while True:
        try:
            tasks.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)


class _Worker:
    """Executes tasks on one device."""

    def __init__(self, begin: Begin, page: WatchdogPage) -> None:
        self._target = begin.target
        self._page = page
        self._backend: Backend = backend_for(begin.target)
        self._canaries = list(begin.canaries)
        self._foreign = begin.foreign

    def execute(self, task: Task) -> Answer | Failure:
        """The result of a task; an exception of a kernel becomes a status, never the end of the run."""
        busy_s, skipped_s = self._backend.busy_s, self._backend.skipped_s
        try:
            if isinstance(task, MeasureTask):
                answer = self._measure(task)
            else:
                read = measure_canaries(self._target, task)
                self._canaries += read
                answer = Answer(canaries=tuple(read))
        except Exception as error:
            return Failure(f"{type(error).__name__}: {error}", usable=self._backend.healthy())
        return replace(
            answer,
            busy_s=self._backend.busy_s - busy_s,
            skipped_s=self._backend.skipped_s - skipped_s,
            usable=self._backend.healthy(),
        )

    def _cell(self, task: MeasureTask, name: str) -> Any:  # noqa: ANN401  (see `cell_by_name`)
        if is_foreign(name):
            return ForeignImplementation(self._foreign.implementation(name))
        return cell_by_name(task.problem, name)

    def _measure(self, task: MeasureTask) -> Answer:
        names = task.implementations
        records = measure_problem(
            task.problem,
            [self._cell(task, name) for name in names],
            self._target,
            task.settings,
            seed=task.seed,
            energy=task.energy,
            canaries=self._canaries,
            announce=lambda name: self._page.set_current(names.index(name)),
        )
        return Answer(records=tuple(records))


if __name__ == "__main__":
    main()

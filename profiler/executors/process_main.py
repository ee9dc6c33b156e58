"""The child process: takes tasks from its parent, measures, answers; never opens the store."""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection

from kswatch.errors import KswatchError
from kswatch.kernels import catalogue
from kswatch.profiler.backends import base as benches
from kswatch.profiler.backends.base import Bench
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.discovery import Target
from kswatch.profiler.devices.environment import environment
from kswatch.profiler.executors.base import MeasureTask, Place
from kswatch.profiler.executors.protocol import Answer, Begin, CanaryTask, Failure, Task
from kswatch.profiler.executors.watchdog_page import Whereabouts
from kswatch.profiler.measurement.loop import measure_canaries, measure_problem


def main() -> None:
    """Answer tasks until the parent is gone; file descriptors of pipe and page are the arguments."""
    connection, whereabouts = Connection(int(sys.argv[1])), Whereabouts(int(sys.argv[2]))
    begin: Begin = connection.recv()
    try:
        target = devices.find(begin.device)
        place = Place(target.record, environment(target))
        worker = _Worker(target, whereabouts)
    except KswatchError as error:
        connection.send(Failure(str(error)))
        return
    gc.collect()
    gc.freeze()  # what is here stays: each problem, and each graph that torch captures, collects garbage
    connection.send(Answer(place=place))
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
    while True:
        connection.send(worker.answer(tasks.get()))


def _receive(connection: Connection, tasks: queue.SimpleQueue[Task]) -> None:
    # Reading all the time is what notices at once that the parent was killed, even while measuring.
    while True:
        try:
            tasks.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)


class _Worker:
    """Does tasks on one device."""

    def __init__(self, target: Target, whereabouts: Whereabouts) -> None:
        self._target = target
        self._whereabouts = whereabouts
        self._bench: Bench = benches.of(target)

    def answer(self, task: Task) -> Answer | Failure:
        """What the task gave; whatever a kernel raises is a status, never the night's end."""
        self._whereabouts.tell(-1)
        busy_s, skipped_s = self._bench.busy_s, self._bench.skipped_s
        try:
            answer = self._canaries(task) if isinstance(task, CanaryTask) else self._measure(task)
        except Exception as error:
            return Failure(f"{type(error).__name__}: {error}", usable=self._bench.healthy())
        return replace(
            answer,
            busy_s=self._bench.busy_s - busy_s,
            skipped_s=self._bench.skipped_s - skipped_s,
            usable=self._bench.healthy(),
        )

    def _canaries(self, task: CanaryTask) -> Answer:
        return Answer(canaries=tuple(measure_canaries(self._target, task.position)))

    def _measure(self, task: MeasureTask) -> Answer:
        names = task.implementations
        records = measure_problem(
            task.problem,
            [catalogue.implementation(name) for name in names],
            self._target,
            task.settings,
            seed=task.seed,
            energy=task.energy,
            canaries=task.canaries,
            announce=lambda name: self._whereabouts.tell(names.index(name)),
        )
        return Answer(records=tuple(records))


if __name__ == "__main__":
    main()

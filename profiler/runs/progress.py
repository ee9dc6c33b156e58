"""How far a run is: a bar on a terminal, a line now and then elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichBar

from kswatch.db.records import MeasurementRecord
from kswatch.kernels.problem import Problem
from kswatch.profiler.planning.budget import as_text


class Progress:
    """Told what a run does; this one keeps count and shows nothing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_s = clock()
        self.problems = 0
        self.done = 0
        self.by_status: Counter[str] = Counter()

    def begin(self, title: str, problems: int, cells: int) -> None:
        """The run has so many problems and cells before it."""
        del title, cells
        self._began_s = self._clock()
        self.problems, self.done = problems, 0
        self.by_status.clear()

    def note(self, sentence: str) -> None:
        """Something that a reader of the numbers should know."""

    def starting(self, problem: Problem) -> None:
        """This problem is measured next."""

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """A problem is in the store."""
        self.done += 1
        self.by_status.update(record.status for record in records)

    def left_out(self, records: Sequence[MeasurementRecord]) -> None:
        """These cells are in the store as skipped."""

    def end(self, sentence: str) -> None:
        """The run is over, and how."""

    @property
    def left_s(self) -> float | None:
        """Seconds still to go at the pace so far; None before the first problem is done."""
        if not self.done:
            return None
        return (self._clock() - self._began_s) / self.done * (self.problems - self.done)


class LineProgress(Progress):
    """A plain line every ten seconds: for logs and pipes."""

    EVERY_S = 10.0

    def __init__(
        self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic, prefix: str = ""
    ) -> None:
        """Write to `out`, or stderr; a prefix tells lines of one device from those of another."""
        super().__init__(clock)
        self._out = out or sys.stderr
        self._prefix = prefix
        self._said_s = clock()

    def begin(self, title: str, problems: int, cells: int) -> None:
        """Say what begins."""
        super().begin(title, problems, cells)
        self._say(f"{title}: {problems} problems, {cells} cells")

    def note(self, sentence: str) -> None:
        """Say it."""
        self._say(f"note: {sentence}")

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """Say how far it is, if the last word was ten seconds ago."""
        super().recorded(records)
        if self._clock() - self._said_s >= self.EVERY_S:
            self._say(f"{self.done}/{self.problems} problems, {self._left()}, {_counts(self.by_status)}")

    def end(self, sentence: str) -> None:
        """Say how it ended."""
        self._say(sentence)

    def _left(self) -> str:
        return f"about {as_text(self.left_s or 0)} left"

    def _say(self, sentence: str) -> None:
        self._said_s = self._clock()
        print(f"{self._prefix}{sentence}\n", end="", file=self._out, flush=True)


class BarProgress(Progress):
    """A bar with the time left and the problem under way."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._bar = RichBar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            TextColumn("[dim]{task.fields[problem]}"),
            console=console,
            transient=True,
        )

    def begin(self, title: str, problems: int, cells: int) -> None:
        """Draw the bar."""
        super().begin(title, problems, cells)
        self._task = self._bar.add_task(title, total=problems, left="", problem="")
        self._bar.start()

    def note(self, sentence: str) -> None:
        """Say it above the bar."""
        self._console.print(f"note: {sentence}", highlight=False)

    def starting(self, problem: Problem) -> None:
        """Show the problem beside the bar."""
        self._bar.update(self._task, problem=str(problem))

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """Advance the bar."""
        super().recorded(records)
        self._bar.update(self._task, completed=self.done, left=f"{as_text(self.left_s or 0)} left")

    def end(self, sentence: str) -> None:
        """Take the bar away and say how it ended."""
        self._bar.stop()
        self._console.print(sentence, highlight=False)


def for_terminal() -> Progress:
    """A bar where stderr is a terminal, lines elsewhere."""
    console = Console(stderr=True)
    return BarProgress(console) if console.is_terminal else LineProgress()


def _counts(by_status: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in by_status.most_common())

"""Progress of a run: a bar on a terminal, a line every ten seconds elsewhere; always on stderr."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichBar

from kswatch.db.cli.terminal import make_console
from kswatch.db.records import MeasurementRecord
from kswatch.profiler.planning.budget import as_text
from kswatch.profiler.subjects.problems import AnyProblem

_log = logging.getLogger(__name__)


class Progress:
    """Receives the events of a run; this one counts and shows nothing."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self.problems = 0
        self.done = 0
        self.by_status: Counter[str] = Counter()

    def begin(self, title: str, problems: int, cells: int) -> None:
        """The run begins, with this number of problems and cells."""
        del title, cells
        self._start_s = time.monotonic()
        self.problems, self.done = problems, 0
        self.by_status.clear()

    def note(self, sentence: str) -> None:
        """A fact that a reader of the results needs."""

    def starting(self, problem: AnyProblem) -> None:
        """This problem is measured next."""

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """A problem is in the store."""
        self.done += 1
        self.by_status.update(record.status for record in records)

    def left_out(self, records: Sequence[MeasurementRecord]) -> None:
        """These cells are in the store as skipped."""

    def end(self, sentence: str) -> None:
        """The run has ended, with this outcome."""

    def for_device(self, uuid: str) -> Progress:
        """Progress of one of several runs at once: lines that name the device, since a bar shows one run."""
        return LineProgress(prefix=f"{uuid}: ")

    @property
    def left_s(self) -> float | None:
        """Estimated seconds to the end; None before the first problem is done."""
        if not self.done:
            return None
        return (time.monotonic() - self._start_s) / self.done * (self.problems - self.done)


class LineProgress(Progress):
    """A plain line every ten seconds: for logs and pipes."""

    EVERY_S = 10.0

    def __init__(self, prefix: str = "") -> None:
        """A prefix distinguishes the lines of several devices."""
        super().__init__()
        self._out = sys.stderr
        self._prefix = prefix
        self._shown_s = time.monotonic()

    def begin(self, title: str, problems: int, cells: int) -> None:
        """Print the title and the size of the run."""
        super().begin(title, problems, cells)
        self._print(f"{title}: {problems} problems, {cells} cells")

    def note(self, sentence: str) -> None:
        """Print it."""
        self._print(f"note: {sentence}")

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """Print the progress, if the last line is ten seconds old."""
        super().recorded(records)
        if time.monotonic() - self._shown_s >= self.EVERY_S:
            left = as_text(self.left_s or 0)
            counts = ", ".join(f"{count} {status}" for status, count in self.by_status.most_common())
            self._print(f"{self.done}/{self.problems} problems, about {left} left, {counts}")

    def end(self, sentence: str) -> None:
        """Print the outcome."""
        self._print(sentence)

    def _print(self, sentence: str) -> None:
        self._shown_s = time.monotonic()
        print(f"{self._prefix}{sentence}\n", end="", file=self._out, flush=True)


class LogProgress(Progress):
    """Log records: for daemons."""

    def begin(self, title: str, problems: int, cells: int) -> None:
        """Log the size of the run."""
        super().begin(title, problems, cells)
        _log.info("%s: %s problems, %s cells", title, problems, cells)

    def note(self, sentence: str) -> None:
        """Log a warning."""
        _log.warning("%s", sentence)

    def for_device(self, uuid: str) -> Progress:
        """The same: the log names the device of each record."""
        del uuid
        return LogProgress()

    def starting(self, problem: AnyProblem) -> None:
        """Log the problem, for debugging."""
        _log.debug("measuring %s", problem)

    def end(self, sentence: str) -> None:
        """Log how it ended."""
        _log.info("%s", sentence)


class BarProgress(Progress):
    """A bar with the time left and the problem in progress."""

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
        """Print it above the bar."""
        self._console.print(f"note: {escape(sentence)}", highlight=False)

    def starting(self, problem: AnyProblem) -> None:
        """Show the problem beside the bar."""
        self._bar.update(self._task, problem=str(problem))

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """Advance the bar."""
        super().recorded(records)
        self._bar.update(self._task, completed=self.done, left=f"{as_text(self.left_s or 0)} left")

    def end(self, sentence: str) -> None:
        """Remove the bar and print the outcome."""
        self._bar.stop()
        self._console.print(escape(sentence), highlight=False)


def for_terminal() -> Progress:
    """A bar where stderr is a terminal, lines elsewhere."""
    console = make_console(stderr=True)
    return BarProgress(console) if console.is_terminal else LineProgress()

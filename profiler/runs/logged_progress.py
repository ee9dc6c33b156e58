"""A run's progress that is also written to its log in the store, for readers of other times and hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kswatch.db.coordination.run_log import Level, log
from kswatch.db.records import CANNOT_COMPETE, COMPARABLE, MeasurementRecord
from kswatch.db.store import Store
from kswatch.profiler.runs.progress import Progress
from kswatch.profiler.subjects.problems import AnyProblem


class LoggedProgress(Progress):
    """Passes everything to another progress, and to the log what a reader of the run needs."""

    def __init__(self, inner: Progress, store: Store, run_id: int) -> None:
        super().__init__()
        self._inner = inner
        self._store = store
        self._run_id = run_id

    def begin(self, title: str, problems: int, cells: int) -> None:
        """Log how much was planned."""
        self._inner.begin(title, problems, cells)
        self._log("info", f"planned {problems} problems, {cells} cells")

    def note(self, sentence: str) -> None:
        """Log it as a warning."""
        self._inner.note(sentence)
        self._log("warning", sentence)

    def starting(self, problem: AnyProblem) -> None:
        """See `Progress`."""
        self._inner.starting(problem)

    def recorded(self, records: Sequence[MeasurementRecord]) -> None:
        """Log the cells without a comparable result, those of one reason together."""
        self._inner.recorded(records)
        self._log_lost(records)

    def left_out(self, records: Sequence[MeasurementRecord]) -> None:
        """Log the cells that the budget left out."""
        self._inner.left_out(records)
        self._log_lost(records)

    def end(self, sentence: str) -> None:
        """Log how it ended, however long the log is."""
        self._inner.end(sentence)
        log(self._store, self._run_id, [("info", sentence)], always=True)

    def _log_lost(self, records: Sequence[MeasurementRecord]) -> None:
        lost = [one for one in records if one.status not in COMPARABLE | CANNOT_COMPETE]
        groups = Counter((one.status, one.reason or "") for one in lost)
        log(self._store, self._run_id, [_line(lost, *group, count) for group, count in groups.items()])

    def _log(self, level: Level, text: str) -> None:
        log(self._store, self._run_id, [(level, text)])


def _line(lost: Sequence[MeasurementRecord], status: str, reason: str, count: int) -> tuple[Level, str]:
    same = [one for one in lost if (one.status, one.reason or "") == (status, reason)]
    if count > 8 or len({one.problem for one in same}) > 1:
        cells = f"{count} cells"
    else:
        problem = same[0].problem
        names = ", ".join(one.implementation for one in same)
        cells = f"{problem.pattern} at {problem.batch}, {problem.precision}, {problem.layout}: {names}"
    return "info" if status == "skipped" else "warning", f"{cells} {status}: {reason}"

"""Interleaved timing: cells of one problem visited in seeded ABBA rounds until every interval is narrow."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kswatch.errors import MeasurementError
from kswatch.profiler.backends.base import Backend
from kswatch.profiler.measurement.cell import CellMeasurement
from kswatch.profiler.settings import MeasureSettings

SLOW_VISIT_LAUNCHES = 3
NEAR = 1.25
"""A rival of `fused` is near it where its latency is at most this factor above that of the fastest rival."""


class Interleaving:
    """Cells of one mode on one backend, visited in turns."""

    def __init__(self, cells: Sequence[CellMeasurement], backend: Backend, settings: MeasureSettings) -> None:
        self._cells = cells
        self._backend = backend
        self._settings = settings
        self._throttled_s = 0.0
        self._discards_left = settings.throttled_visits_limit

    def run(self, seed: int) -> None:
        """Warm up, then visit each round's order forwards and backwards (ABBA), so that drift cancels."""
        self._warm_up()
        randomness, begin_s, round_index = random.Random(seed), self._backend.now_s(), 0
        self._throttled_s = self._backend.throttled_s() or 0.0
        while round_cells := self._next_round():
            randomness.shuffle(round_cells)
            for cell in (*round_cells, *reversed(round_cells)):
                self._visit(cell, round_index)
            tick_ms = self._backend.timer.tick_ms
            for cell in self._unfinished():
                cell.finish_if_done(self._best_ms(), tick_ms)
            for cell in active(self._cells):
                cell.resume_if_wide(tick_ms)
            round_index += 1
            late = 1e3 * (self._backend.now_s() - begin_s) >= self._settings.problem_cap_ms
            if late or self._discards_left <= 0:
                for cell in self._unfinished():
                    cell.mark_not_converged(tick_ms)

    def _warm_up(self) -> None:
        """Launch each cell until caches, clocks and lazy libraries have settled; the samples are dropped."""
        cells = active(self._cells)
        for cell in cells:
            launches = launches_for(cell, self._settings.warm_up_ms / len(cells))
            with confine_failure(cell, self._backend), self._backend.busy():
                visit = self._backend.timer_of(cell.mode)(cell.launchable, launches)
                cell.estimate_ms = statistics.median(visit.samples_ms)

    def _unfinished(self) -> list[CellMeasurement]:
        return [cell for cell in active(self._cells) if cell.status is None]

    def _next_round(self) -> list[CellMeasurement]:
        """The cells of the next round: unfinished ones, and the reference for their ratios.

        In the first round all of them; then those that decide the comparison, until they are finished: the
        others have what is left of the time.
        """
        unfinished = self._unfinished()
        decisive = [cell for cell in unfinished if cell.samples_ms and self._is_decisive(cell)]
        if all(cell.samples_ms for cell in unfinished) and decisive:
            unfinished = decisive
        reference = [cell for cell in active(self._cells) if cell.is_reference and cell.may_continue]
        return unfinished + reference if unfinished else []

    def _is_decisive(self, cell: CellMeasurement) -> bool:
        """Whether it is `fused`, the one that others are paired with, or near the fastest of the rivals."""
        rivals = [other.estimate_ms for other in active(self._cells) if other.is_rival]
        is_near = cell.estimate_ms <= NEAR * min(rivals, default=cell.estimate_ms)
        return cell.is_fused or cell.is_reference or is_near

    def _visit(self, cell: CellMeasurement, round_index: int) -> None:
        if not cell.active or self._discards_left <= 0:
            return  # it failed in this round, or the board is throttled all the time
        begin_s = self._backend.now_s()
        launches = launches_for(cell, self._settings.visit_ms)
        if cell.is_slow(self._best_ms()):
            launches = min(launches, SLOW_VISIT_LAUNCHES)
        with confine_failure(cell, self._backend), self._backend.busy():
            with self._backend.probed("visit", cell.probe_key):
                visit = self._backend.timer_of(cell.mode)(cell.launchable, launches)
            spent_ms = 1e3 * (self._backend.now_s() - begin_s)
            if self._throttled_since_last_read():
                cell.discard_throttled(spent_ms)
                self._discards_left -= 1
                self._backend.pause(self._settings.cool_down_s)
                self._throttled_since_last_read()  # throttling during the pause belongs to no visit
            else:
                cell.add_visit(visit, round_index, spent_ms)

    def _throttled_since_last_read(self) -> bool:
        """Whether the board's own counter shows throttling by heat or hardware since the last call."""
        throttled_s, before_s = self._backend.throttled_s(), self._throttled_s
        self._throttled_s = before_s if throttled_s is None else throttled_s
        return self._throttled_s > before_s

    def _best_ms(self) -> float:
        return min(cell.estimate_ms for cell in active(self._cells))


def active(cells: Sequence[CellMeasurement]) -> list[CellMeasurement]:
    """The cells that were admitted and have not failed since."""
    return [cell for cell in cells if cell.active]


def launches_for(cell: CellMeasurement, visit_ms: float) -> int:
    """The number of launches that last `visit_ms`; the timer takes fewer where its queue holds fewer."""
    return max(round(visit_ms / max(cell.estimate_ms, 1e-6)), 1)


@contextmanager
def confine_failure(cell: CellMeasurement, backend: Backend) -> Iterator[None]:
    """Confine a failure inside to this cell.

    Raises:
        MeasurementError: the failure has left the device unusable.
    """
    with cell.recording_failure():
        yield
    if cell.status == "crashed" and not backend.healthy():
        raise MeasurementError(f"the device no longer responds after {cell.name}: {cell.reason}")

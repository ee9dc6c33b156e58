"""The race: cells of one problem visited in seeded ABBA rounds until every median is known well enough."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kswatch.errors import MeasurementError
from kswatch.profiler.backends.base import Bench
from kswatch.profiler.measurement.cell import REFERENCE, Contender
from kswatch.profiler.probes.timing import Visit
from kswatch.profiler.settings import MeasureSettings

SLOW_VISIT_LAUNCHES = 3


class Race:
    """Contenders of one mode on one bench, visited in turns."""

    def __init__(self, contenders: Sequence[Contender], bench: Bench, settings: MeasureSettings) -> None:
        self._contenders = contenders
        self._bench = bench
        self._settings = settings
        self._slowed_s = 0.0
        self._aside_left = settings.slowdown_visits

    def run(self, seed: int) -> None:
        """ABBA rounds: every order is visited forwards and then backwards, so that drift hits all alike."""
        randomness, begin_s, turn = random.Random(seed), self._bench.now_s(), 0
        self._slowed_s = self._bench.slowed_s() or 0.0
        while field := self._field():
            randomness.shuffle(field)
            for contender in (*field, *reversed(field)):
                self._visit(contender, turn)
            for contender in self._unfinished():
                contender.judge(self._best_ms(), self._bench.timer.tick_ms)
            turn += 1
            late = 1e3 * (self._bench.now_s() - begin_s) >= self._settings.problem_cap_ms
            if late or self._aside_left <= 0:
                for contender in self._unfinished():
                    contender.gives_up(self._bench.timer.tick_ms)

    def _unfinished(self) -> list[Contender]:
        return [contender for contender in racing(self._contenders) if contender.status is None]

    def _field(self) -> list[Contender]:
        """Who is visited in the next round: the unfinished, and `fused` beside them for the ratios."""
        unfinished = self._unfinished()
        beside = [each for each in racing(self._contenders) if each.name == REFERENCE and each.can_go_on]
        return unfinished + beside if unfinished else []

    def _visit(self, contender: Contender, turn: int) -> None:
        if not contender.racing or self._aside_left <= 0:
            return  # it failed in this very round, or the board only slows down
        begin_s = self._bench.now_s()
        launches = launches_of(contender, self._settings.visit_ms)
        if contender.is_slow(self._best_ms()):
            launches = min(launches, SLOW_VISIT_LAUNCHES)
        with turn_of(contender, self._bench), self._bench.busy():
            visit = self._probed_visit(contender, launches)
            spent_ms = 1e3 * (self._bench.now_s() - begin_s)
            if self._was_slowed():
                contender.sets_aside(spent_ms)
                self._aside_left -= 1
                self._bench.pause(self._settings.cool_down_s)
                self._was_slowed()  # what happened in the pause is no visit's
            else:
                contender.takes(visit, turn, spent_ms)

    def _probed_visit(self, contender: Contender, launches: int) -> Visit:
        for probe in self._bench.probes:
            probe.visit_begins(contender.cell)
        visit = self._bench.timer_of(contender.mode)(contender.work, launches)
        for probe in self._bench.probes:
            probe.visit_ends(contender.cell)
        return visit

    def _was_slowed(self) -> bool:
        """Whether heat or hardware held the clocks back since the last look, by the board's own count."""
        slowed_s, before_s = self._bench.slowed_s(), self._slowed_s
        self._slowed_s = before_s if slowed_s is None else slowed_s
        return self._slowed_s > before_s

    def _best_ms(self) -> float:
        return min(contender.estimate_ms for contender in racing(self._contenders))


def racing(contenders: Sequence[Contender]) -> list[Contender]:
    """Those that were let in and have not failed since."""
    return [contender for contender in contenders if contender.racing]


def launches_of(contender: Contender, visit_ms: float) -> int:
    """How many launches last so long; the timer takes fewer where its queue holds fewer."""
    return max(round(visit_ms / max(contender.estimate_ms, 1e-6)), 1)


@contextmanager
def turn_of(contender: Contender, bench: Bench) -> Iterator[None]:
    """What fails inside costs this cell alone, unless the device is lost with it."""
    with contender.surviving():
        yield
    if contender.status == "crashed" and not bench.healthy():
        raise MeasurementError(f"the device no longer answers after {contender.name}: {contender.reason}")

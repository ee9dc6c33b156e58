"""One cell while it is measured: its samples, its rounds, what became of it, and its record."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kswatch.db.records import CounterReading, Mode, Status
from kswatch.errors import UnsupportedError
from kswatch.kernels.implementation import Implementation
from kswatch.kernels.problem import Problem
from kswatch.kernels.reference import Correctness
from kswatch.profiler.measurement.sample_statistics import Interval, StoppingRule, median_interval
from kswatch.profiler.probes.timing import Visit, Work
from kswatch.profiler.settings import MeasureSettings

REFERENCE = "fused"
"""The cell that all others of its problem are paired with."""
REASON_LENGTH = 500
OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError")
"""What torch and PyCUDA call theirs; neither is a child of Python's MemoryError."""
MIN_ROUNDS = 6
"""Rounds from which the order statistics of their ratios reach 95 %."""

Announce = Callable[[str], None]
"""Told the name of the cell that runs next: should the process die, its parent knows of which."""


def tell_nobody(name: str) -> None:
    """Where nobody watches."""
    del name


class Contender:
    """One implementation in the race for one problem."""

    def __init__(
        self,
        problem: Problem,
        implementation: Implementation,
        settings: MeasureSettings,
        announce: Announce = tell_nobody,
        mode: Mode = "cold",
    ) -> None:
        self.problem = problem
        self.mode = mode
        self.implementation = implementation
        self.name = implementation.name
        self.work: Work
        """Set by `enters`."""
        self._entered = False
        self.status: Status | None = None
        """None while it is being measured."""
        self.reason: str | None = None
        self.flags: list[str] = []
        self.counters: tuple[CounterReading, ...] = ()
        self.energy: dict[str, object] = {}
        """Energy fields of the record; empty where there was no energy pass."""
        self.code_hash: str | None = None
        self.tile: str | None = None
        self.correctness: Correctness | None = None
        self.estimate_ms = 0.0
        self.samples_ms: list[float] = []
        self._sorted_ms: list[float] = []
        """The same; sorting what is nearly sorted is cheap, and the median is asked for after every visit."""
        self._interval: tuple[int, Interval] | None = None
        """Of so many samples; the ratio of every baseline asks for that of `fused`."""
        self.visit_sizes: list[int] = []
        self.spent_ms = 0.0
        self.timed_ms = 0.0
        """What all launches behind the samples took."""
        self.tick_ms: float | None = None
        """Resolution of the samples, where it is not the timer's."""
        self.visit_cycles: list[float] = []
        """SM cycles per product, by visit."""
        self.set_aside = 0
        """Visits kept out of the median because the board was slowed down."""
        self.round_ms: dict[int, float] = {}
        """By round: the mean of its visits' medians, so that a linear drift cancels."""
        self._settings = settings
        self._announce = announce
        self._rule: StoppingRule | None = None

    @property
    def cell(self) -> str:
        """What probes know it by: hot visits are not those of the cold cell."""
        return f"{self.name} hot" if self.mode == "hot" else self.name

    @property
    def racing(self) -> bool:
        """Let in, and not failed since."""
        return self._entered and self.status in (None, "ok", "not_converged")

    @property
    def can_go_on(self) -> bool:
        """Whether it may be visited for the others' sake although its own median is known."""
        return self.status == "ok" and "slow" not in self.flags and not self._spent

    @property
    def _spent(self) -> bool:
        settings = self._settings
        return self.spent_ms >= settings.cell_cap_ms or len(self.samples_ms) >= settings.max_samples

    def ends(self, status: Status, reason: str | None = None) -> None:
        """Decide the cell; a failure overrules what was decided before."""
        self.status = status
        self.reason = reason[:REASON_LENGTH] if reason else None

    @contextmanager
    def surviving(self) -> Iterator[None]:
        """Whatever goes wrong inside ends this cell with a status by the exception's type, never the loop."""
        self.announce()
        try:
            yield
        except Exception as error:  # a cell that fails is a row with a reason, whatever failed it
            self.fails(error)

    def announce(self) -> None:
        """Tell whoever watches that this cell runs next."""
        self._announce(self.name)

    def fails(self, error: Exception) -> None:
        """End with the status that the exception's type stands for."""
        expected = isinstance(error, Refused | UnsupportedError | MemoryError)
        self.ends(status_of(error), str(error) if expected else f"{type(error).__name__}: {error}")

    def enters(self, work: Work, estimate_ms: float) -> None:
        """It is right, fits and is fast enough: it may be visited."""
        self.work, self.estimate_ms, self._entered = work, estimate_ms, True

    def hot_twin(self) -> Contender:
        """The same cell as it enters the race with its operands in the caches."""
        twin = Contender(self.problem, self.implementation, self._settings, self._announce, "hot")
        twin.correctness = self.correctness
        twin.enters(self.work, self.estimate_ms)
        return twin

    def takes(self, visit: Visit, turn: int, spent_ms: float) -> None:
        """Add a visit's samples; all of them, nothing is dropped as an outlier."""
        level = statistics.median(visit.samples_ms)
        self._sorted_ms += visit.samples_ms
        self._sorted_ms.sort()
        self.round_ms[turn] = (self.round_ms[turn] + level) / 2 if turn in self.round_ms else level
        self.samples_ms += visit.samples_ms
        self.visit_sizes.append(len(visit.samples_ms))
        self.estimate_ms = _middle(self._sorted_ms)
        self.flag(*visit.flags)
        self.spent_ms += spent_ms
        self.timed_ms += visit.timed_ms
        self.tick_ms = visit.tick_ms
        if visit.sm_clock_mhz is not None:
            self.visit_cycles.append(1e3 * visit.sm_clock_mhz * level)

    def sets_aside(self, spent_ms: float) -> None:
        """A visit while heat or hardware held the clocks back: labelled, and not a part of the median."""
        self.flag("thermal_slowdown")
        self.set_aside += 1
        self.spent_ms += spent_ms

    def flag(self, *labels: str) -> None:
        """Label the cell, each label once."""
        self.flags += [label for label in labels if label not in self.flags]

    def is_slow(self, best_ms: float) -> bool:
        """Whether even its fastest sample is too far behind the best to be worth many samples.

        The fastest, since a few disturbed samples of a busy machine must not end a good cell.
        """
        fastest_ms = self._sorted_ms[0] if self._sorted_ms else self.estimate_ms
        return fastest_ms > self._settings.slow_factor * best_ms

    def judge(self, best_ms: float, tick_ms: float) -> None:
        """End the cell if its samples are enough, or if it has had its share of time."""
        settings = self._settings
        self._rule = self._rule or StoppingRule(settings, self._tick(tick_ms))
        if not self.samples_ms:
            if self._spent:
                self.gives_up(tick_ms)
        elif self._rule.satisfied(self.samples_ms, self.visit_sizes, self.timed_ms):
            self.ends("ok")
        elif self.is_slow(best_ms) and len(self.samples_ms) >= settings.slow_samples:
            self.flag("slow")
            times = self.estimate_ms / best_ms
            self.ends("ok", f"{times:.1f} times slower than the best, so only few samples")
        elif self._spent:
            self.gives_up(tick_ms)

    def interval(self, tick_ms: float) -> Interval:
        """The median of all samples with its interval."""
        count = len(self.samples_ms)
        if self._interval is None or self._interval[0] != count:
            found = median_interval(self.samples_ms, self._tick(tick_ms), self.visit_sizes)
            self._interval = (count, found)
        return self._interval[1]

    def _tick(self, of_timer_ms: float) -> float:
        return of_timer_ms if self.tick_ms is None else self.tick_ms

    def gives_up(self, tick_ms: float) -> None:
        """The time is over: keep the interval reached, and say so."""
        if not self.samples_ms:
            told = f"all {self.set_aside} visits were slowed down by heat or hardware"
            return self.ends("skipped", f"{told}: nothing is left to believe; cool the board and --resume")
        reached = self.interval(tick_ms)
        settings = self._settings
        wanted = (
            f"±{100 * settings.half_width:g} % after {settings.min_samples} samples, "
            f"{settings.min_effective_samples:g} effective, {settings.min_timed_ms:g} ms"
        )
        samples = f"{len(self.samples_ms)} samples, {reached.effective_samples:.0f} effective"
        timed = f"{self.timed_ms:.3g} ms"
        self.ends(
            "not_converged", f"±{100 * reached.half_width:.2g} % after {samples}, {timed}; wanted: {wanted}"
        )

    def ratio_to(self, other: Contender, tick_ms: float) -> Interval | None:
        """This one's time over the other's, paired by rounds; None where they share no round.

        Few rounds cannot give an interval of their own: then it is the medians' ratio, and spans both
        their intervals, which is wider than need be but not too narrow.
        """
        turns = sorted(self.round_ms.keys() & other.round_ms.keys())
        if not turns:
            return None
        if len(turns) >= MIN_ROUNDS:
            return median_interval([self.round_ms[turn] / other.round_ms[turn] for turn in turns])
        mine, theirs = self.interval(tick_ms), other.interval(tick_ms)
        return Interval(
            median=mine.median / theirs.median,
            low=mine.low / theirs.high,
            high=mine.high / theirs.low,
            effective_samples=len(turns),
        )


def _middle(ordered: Sequence[float]) -> float:
    """The median of what is sorted already."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


class Refused(Exception):  # noqa: N818 (not an error: a cell that is not to be raced)
    """A cell is given this status, and this reason."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def status_of(error: Exception) -> Status:
    """What a cell is called after this exception: by its type, never by its text."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, MemoryError) or type(error).__name__ in OUT_OF_MEMORY:
        return "out_of_memory"
    return "unsupported" if isinstance(error, UnsupportedError) else "crashed"

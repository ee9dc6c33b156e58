"""One cell while it is measured: its samples, its rounds, and its status."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kswatch.db.records import (
    FUSED,
    REFERENCES,
    STRUCTURED,
    CounterReading,
    Mode,
    Status,
)
from kswatch.errors import UnsupportedError
from kswatch.kernels.models.base import AUTO
from kswatch.kernels.reference import Correctness
from kswatch.profiler.measurement.sample_statistics import Interval, StoppingRule, median_interval
from kswatch.profiler.probes.timing import Launchable, Visit
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.subjects.demand import demand_of
from kswatch.profiler.subjects.problems import AnyProblem

REASON_LENGTH = 500
OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError")
"""Names of torch's and PyCUDA's exceptions; neither is a subclass of Python's MemoryError."""
MIN_ROUNDS = 6
"""Least number of rounds whose ratios have order statistics that reach 95 %."""

Announce = Callable[[str], None]
"""Called with the name of each cell before it runs, so that the parent knows which cell killed a process."""


def no_op(name: str) -> None:
    """Announce nothing."""
    del name


class CellMeasurement:
    """The measurement of one implementation of one problem, while it is under way.

    `implementation` is an `Implementation` of a product, or a cell of `kswatch.profiler.subjects`.
    """

    def __init__(
        self,
        problem: AnyProblem,
        implementation: Any,  # noqa: ANN401  (see above)
        settings: MeasureSettings,
        announce: Announce = no_op,
        mode: Mode = "cold",
    ) -> None:
        self.problem = problem
        self.demand = demand_of(problem, implementation)
        self.mode = mode
        self.implementation = implementation
        self.name = implementation.name
        self.launchable: Launchable
        """Set by `admit`."""
        self._admitted = False
        self.status: Status | None = None
        """None while the measurement is under way."""
        self.reason: str | None = None
        self.flags: list[str] = []
        self.counters: tuple[CounterReading, ...] = ()
        self.peak_bytes: int | None = None
        """Growth of the memory of a process of its own, where that was measured."""
        self.energy: dict[str, object] = {}
        """Energy fields of the record; empty without an energy pass."""
        self.code_hash: str | None = None
        self.tile: str | None = None
        self.compile_ms: float | None = None
        self.caveats: tuple[str, ...] = ()
        """Flags of what the time includes besides the product."""
        self.correctness: Correctness | None = None
        self.estimate_ms = 0.0
        self.samples_ms: list[float] = []
        self._sorted_ms: list[float] = []
        """Sorted copy: sorting a nearly sorted list is cheap, and every visit needs the median."""
        self._interval: tuple[int, Interval] | None = None
        """The number of samples and their interval, cached: every baseline's ratio needs that of `fused`."""
        self.visit_sizes: list[int] = []
        self.spent_ms = 0.0
        self.timed_ms = 0.0
        """Total time of all launches behind the samples."""
        self.tick_ms: float | None = None
        """Resolution of the samples, where it differs from the timer's."""
        self.visit_cycles: list[float] = []
        """SM cycles per product of each visit."""
        self.throttled_visits = 0
        """Number of visits that were discarded because the board was throttled."""
        self.round_ms: dict[int, float] = {}
        """The mean of the visits' medians of each round, so that a linear drift cancels."""
        self._settings = settings
        self._announce = announce
        self._rule: StoppingRule | None = None

    @property
    def is_fused(self) -> bool:
        """Whether the product of this project computes it, alone or within a layer or a model."""
        return self.name.rpartition(STRUCTURED)[2] == FUSED

    @property
    def is_rival(self) -> bool:
        """Whether it is computed by something else than `fused`; `auto` of a model may choose `fused`."""
        return self.name.rpartition(STRUCTURED)[2] not in (FUSED, AUTO)

    @property
    def is_reference(self) -> bool:
        """Whether the others' latencies are paired with this one's: `fused`, or the dense layer or model."""
        return self.name in REFERENCES

    @property
    def probe_key(self) -> str:
        """The key of its readings in probes: hot and cold visits are kept apart."""
        return f"{self.name} hot" if self.mode == "hot" else self.name

    @property
    def active(self) -> bool:
        """Whether it was admitted and has not failed since."""
        return self._admitted and self.status in (None, "ok", "not_converged")

    @property
    def may_continue(self) -> bool:
        """Whether it may be visited for the ratios of others although its own median is known."""
        return self.status == "ok" and "slow" not in self.flags and not self._spent

    @property
    def _spent(self) -> bool:
        settings = self._settings
        return self.spent_ms >= settings.cell_cap_ms or len(self.samples_ms) >= settings.max_samples

    def finish(self, status: Status, reason: str | None = None) -> None:
        """Set the status; a failure overrides an earlier status."""
        self.status = status
        self.reason = reason[:REASON_LENGTH] if reason else None

    @contextmanager
    def recording_failure(self) -> Iterator[None]:
        """Turn an exception inside into the status of this cell, so that the loop continues."""
        self.announce()
        try:
            yield
        except Exception as error:  # a cell that fails is a row with a reason, whatever the error
            self.fail(error)

    def announce(self) -> None:
        """Announce that this cell runs next."""
        self._announce(self.name)

    def fail(self, error: Exception) -> None:
        """Finish with the status that belongs to the exception's type."""
        expected = isinstance(error, CellRefused | UnsupportedError | MemoryError)
        self.finish(status_for(error), str(error) if expected else f"{type(error).__name__}: {error}")

    def admit(self, launchable: Launchable, estimate_ms: float) -> None:
        """Allow visits, after validation."""
        self.launchable, self.estimate_ms, self._admitted = launchable, estimate_ms, True

    def hot_variant(self) -> CellMeasurement:
        """The measurement of the same cell with its operands in the caches."""
        variant = CellMeasurement(self.problem, self.implementation, self._settings, self._announce, "hot")
        variant.correctness, variant.caveats = self.correctness, self.caveats
        variant.flag(*self.caveats)
        variant.admit(self.launchable, self.estimate_ms)
        return variant

    def add_visit(self, visit: Visit, round_index: int, spent_ms: float) -> None:
        """Add all samples of a visit; none is dropped as an outlier."""
        level = statistics.median(visit.samples_ms)
        self._sorted_ms += visit.samples_ms
        self._sorted_ms.sort()
        self.round_ms[round_index] = (
            (self.round_ms[round_index] + level) / 2 if round_index in self.round_ms else level
        )
        self.samples_ms += visit.samples_ms
        self.visit_sizes.append(len(visit.samples_ms))
        self.estimate_ms = _middle(self._sorted_ms)
        self.flag(*visit.flags)
        self.spent_ms += spent_ms
        self.timed_ms += visit.timed_ms
        self.tick_ms = visit.tick_ms
        if visit.sm_clock_mhz is not None:
            self.visit_cycles.append(1e3 * visit.sm_clock_mhz * level)

    def discard_throttled(self, spent_ms: float) -> None:
        """Label a visit during which the board was throttled, and keep it out of the median."""
        self.flag("thermal_slowdown")
        self.throttled_visits += 1
        self.spent_ms += spent_ms

    def flag(self, *labels: str) -> None:
        """Add labels, each one once."""
        self.flags += [label for label in labels if label not in self.flags]

    def is_slow(self, best_ms: float) -> bool:
        """Whether even its fastest sample is too much slower than the best to be worth many samples.

        The fastest sample, since a few disturbed samples on a busy machine must not finish a good cell.
        """
        fastest_ms = self._sorted_ms[0] if self._sorted_ms else self.estimate_ms
        return fastest_ms > self._settings.slow_factor * best_ms

    def finish_if_done(self, best_ms: float, tick_ms: float) -> None:
        """Finish the cell if it has enough samples, or has used its share of time."""
        settings = self._settings
        self._rule = self._rule or StoppingRule(settings, self._tick(tick_ms))
        if not self.samples_ms:
            if self._spent:
                self.mark_not_converged(tick_ms)
        elif self._rule.satisfied(self.samples_ms, self.visit_sizes, self.timed_ms):
            self.finish("ok")
        elif self.is_slow(best_ms) and self._has_enough_of_slow(tick_ms):
            self.flag("slow")
            times = self.estimate_ms / best_ms
            self.finish("ok", f"{times:.1f} times slower than the best, so only a few samples were taken")
        elif self._spent:
            self.mark_not_converged(tick_ms)

    def _has_enough_of_slow(self, tick_ms: float) -> bool:
        settings = self._settings
        width = settings.slow_half_widths * settings.half_width
        return len(self.samples_ms) >= settings.slow_samples and self.interval(tick_ms).half_width <= width

    def resume_if_wide(self, tick_ms: float) -> None:
        """Take up a finished cell again whose interval has widened in visits for the ratios of others."""
        is_precise = self.status == "ok" and "slow" not in self.flags
        if is_precise and self.interval(tick_ms).half_width > self._settings.half_width:
            self.status = None

    def interval(self, tick_ms: float) -> Interval:
        """The median of all samples with its interval."""
        count = len(self.samples_ms)
        if self._interval is None or self._interval[0] != count:
            found = median_interval(self.samples_ms, self._tick(tick_ms), self.visit_sizes)
            self._interval = (count, found)
        return self._interval[1]

    def _tick(self, of_timer_ms: float) -> float:
        return of_timer_ms if self.tick_ms is None else self.tick_ms

    def mark_not_converged(self, tick_ms: float) -> None:
        """Finish after the time cap with the interval reached; without any sample as `skipped`."""
        if not self.samples_ms:
            reason = f"all {self.throttled_visits} visits were throttled by heat or hardware"
            return self.finish("skipped", f"{reason}: no usable samples; cool the board and --resume")
        reached = self.interval(tick_ms)
        settings = self._settings
        samples = f"{len(self.samples_ms)} samples ({reached.effective_samples:.0f} effective)"
        wanted = f"±{100 * settings.half_width:g} % from {settings.min_effective_samples:g} effective samples"
        self.finish(
            "not_converged",
            f"its time was up at ±{100 * reached.half_width:.2g} % after {samples}; wanted: {wanted}. "
            "The median counts, but is less certain",
        )

    def ratio_to(self, other: CellMeasurement, tick_ms: float) -> Interval | None:
        """Its latency over the other's, paired by rounds; None where they share no round.

        Few rounds cannot give an interval of their own: then the ratio is that of the medians, with an
        interval that spans both of theirs, which is conservative.
        """
        turns = sorted(self.round_ms.keys() & other.round_ms.keys())
        if not turns:
            return None
        if len(turns) >= MIN_ROUNDS:
            return median_interval(
                [self.round_ms[round_index] / other.round_ms[round_index] for round_index in turns]
            )
        numerator, denominator = self.interval(tick_ms), other.interval(tick_ms)
        return Interval(
            median=numerator.median / denominator.median,
            low=numerator.low / denominator.high,
            high=numerator.high / denominator.low,
            effective_samples=len(turns),
        )


def _middle(ordered: Sequence[float]) -> float:
    """The median of a sorted sequence."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


class CellRefused(Exception):  # noqa: N818 (not an error: the cell gets a status)
    """A cell is not timed and gets this status, with this reason."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def status_for(error: Exception) -> Status:
    """The status of a cell after this exception: by its type, never by its text."""
    if isinstance(error, CellRefused):
        return error.status
    if isinstance(error, MemoryError) or type(error).__name__ in OUT_OF_MEMORY:
        return "out_of_memory"
    return "unsupported" if isinstance(error, UnsupportedError) else "crashed"

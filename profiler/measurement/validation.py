"""Who may race: what can be computed here, fits into memory, is right, and does not take too long."""

from __future__ import annotations

from kswatch.errors import UnsupportedError
from kswatch.profiler.backends.base import Bench
from kswatch.profiler.backends.workload import Stage
from kswatch.profiler.devices.roofline import Roofline
from kswatch.profiler.measurement.cell import Contender, Refused
from kswatch.profiler.probes.timing import Work
from kswatch.profiler.settings import MeasureSettings


class Admission:
    """The checks of one problem's cells, before timing and after it."""

    def __init__(self, stage: Stage, bench: Bench, settings: MeasureSettings, roofline: Roofline) -> None:
        self._stage = stage
        self._bench = bench
        self._settings = settings
        self._roofline = roofline
        self._bmm_error: float | None = None

    def admit(self, contender: Contender) -> None:
        """Let the cell race; `bmm` first, since its error may widen the limit of the others.

        Raises:
            UnsupportedError: it cannot be computed here.
            Refused: it does not fit, takes too long or is wrong.
        """
        if refusal := self._stage.unsupported(contender.implementation):
            raise UnsupportedError(refusal)
        self._refuse_what_does_not_fit(contender)
        least_ms = self._roofline.fastest_ms(
            contender.problem.precision, contender.implementation.flops(contender.problem)
        )
        self._refuse_slow(least_ms or 0.0, "predicted from its operations at the measured rate")
        work = self._prepare(contender)
        self._check(contender, work, "before")
        if contender.name == "bmm" and contender.correctness:
            self._bmm_error = contender.correctness.relative_error
        estimate_ms = self._first_ms(contender, work)
        self._refuse_slow(estimate_ms, "the first timed call")
        contender.enters(work, estimate_ms)

    def check_again(self, contender: Contender) -> None:
        """What was right before timing must still be right after it.

        Raises:
            Refused: it is not.
        """
        contender.code_hash, contender.tile = self._stage.code_of(contender.implementation)
        self._check(contender, contender.work, "after")

    def _prepare(self, contender: Contender) -> Work:
        for probe in self._bench.probes:
            probe.prepare_begins(contender.name)
        work = self._stage.prepare(contender.implementation)
        for probe in self._bench.probes:
            probe.prepare_ends(contender.name)
        return work

    def _first_ms(self, contender: Contender, work: Work) -> float:
        for probe in self._bench.probes:
            probe.launch_begins(contender.name)
        time_ms = self._bench.timer.visit(work, 1).samples_ms[0]
        for probe in self._bench.probes:
            probe.launch_ends(contender.name)
        return time_ms

    def _check(self, contender: Contender, work: Work, when: str) -> None:
        contender.correctness = self._stage.check(work, self._bmm_error)
        if not contender.correctness.ok:
            raise Refused("incorrect", f"{when} timing: {contender.correctness.reason}")

    def _refuse_what_does_not_fit(self, contender: Contender) -> None:
        problem = contender.problem
        needed = contender.implementation.memory_bytes(problem) - problem.input_bytes
        free = self._bench.free_bytes()
        if needed > self._settings.memory_share * free:
            raise Refused("out_of_memory", f"needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")

    def _refuse_slow(self, time_ms: float, how: str) -> None:
        limit_ms = self._settings.too_slow_ms
        if time_ms > limit_ms:
            raise Refused("too_slow", f"{time_ms:.0f} ms per product ({how}); the limit is {limit_ms:.0f} ms")

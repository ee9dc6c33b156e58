"""The part of NVML that probes use, on a simulated board: an energy counter with ticks, power with a lag."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pynvml

from kswatch.profiler.simulated.board import Board

READ_S = 50e-6
"""Host time of one call."""
FIELDS = {83: "field_83", 186: "field_186", 269: "event_times", 270: "event_times", 271: "event_times"}
REASONS = {"power": 0x004, "hardware": 0x008, "thermal": 0x020}
"""Bit of each throttle reason."""
THROTTLES = {269: "thermal", 270: "hardware"}


class SimulatedNvml:
    """The part of `pynvml` that measuring uses; the handle of the GPU is ignored."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._supported = set(board.model.supported) - set(board.options.without)
        self._lost_mj: float | None = None

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: object) -> int:  # noqa: N802
        """See NVML."""
        self._answer("counter")
        return self._counter_mj()

    def nvmlDeviceGetFieldValues(self, gpu: object, fields: Sequence[int]) -> list[SimpleNamespace]:  # noqa: N802
        """See NVML; the call succeeds, and each field has its own status."""
        self._board.clock.advance(READ_S)
        return [self._field(field) for field in fields]

    def _field(self, field: int) -> SimpleNamespace:
        known = FIELDS.get(field) in self._supported
        value = self._value(field) if known else 0
        return SimpleNamespace(
            nvmlReturn=pynvml.NVML_SUCCESS if known else pynvml.NVML_ERROR_NOT_SUPPORTED,
            valueType=pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG,
            value=SimpleNamespace(ullVal=value),
        )

    def _value(self, field: int) -> int:
        if field == 83:
            return self._counter_mj()
        return self._power_mw(0.0) if field == 186 else self._throttled_ns(THROTTLES.get(field, "none"))

    def _throttled_ns(self, reason: str) -> int:
        board = self._board
        active = reason == board.options.throttle
        return round(1e9 * board.throttled_s(board.clock.now_s)) if active else 0

    def nvmlDeviceGetPowerUsage(self, gpu: object) -> int:  # noqa: N802
        """See NVML; the mean over a second on most boards since Ampere."""
        self._answer("power")
        return self._power_mw(self._board.model.power_average_s)

    def nvmlDeviceGetClockInfo(self, gpu: object, clock: int) -> int:  # noqa: N802
        """See NVML."""
        self._answer()
        board = self._board
        if clock == pynvml.NVML_CLOCK_MEM:
            return round(board.model.memory_clock_mhz)
        return round(board.model.sm_clock_mhz / board.slowdown(board.clock.now_s))

    def nvmlDeviceGetTemperature(self, gpu: object, sensor: int) -> int:  # noqa: N802
        """See NVML."""
        self._answer()
        return self._board.temperature_c()

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: object) -> int:  # noqa: N802
        """See NVML."""
        self._answer()
        board = self._board
        return REASONS[board.options.throttle] if board.throttled(board.clock.now_s) else 0

    def nvmlDeviceGetViolationStatus(self, gpu: object, policy: int) -> SimpleNamespace:  # noqa: N802
        """See NVML; nanoseconds of throttling by a policy."""
        self._answer("violations")
        reason = {pynvml.NVML_PERF_POLICY_POWER: "power", pynvml.NVML_PERF_POLICY_THERMAL: "thermal"}
        return SimpleNamespace(referenceTime=0, violationTime=self._throttled_ns(reason.get(policy, "none")))

    def _answer(self, function: str | None = None) -> None:
        self._board.clock.advance(READ_S)
        if function and function not in self._supported:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def _counter_mj(self) -> int:
        options, now_s = self._board.options, self._board.clock.now_s
        tick_s = options.tick_ms / 1e3
        shown_mj = self._board.energy_mj(now_s // tick_s * tick_s)
        if options.reset_at_s and now_s >= options.reset_at_s:
            self._lost_mj = shown_mj if self._lost_mj is None else self._lost_mj
            shown_mj -= self._lost_mj
        return int(options.gain * shown_mj)

    def _power_mw(self, over_s: float) -> int:
        return round(1e3 * self._board.options.gain * self._board.power_w(self._board.clock.now_s, over_s))

"""A simulated device by its name: `sim:h200`, `sim:h200:2`, `sim:h200?noise=0.02&hang_at=40`.

The part before `?` is the board and gives its UUID; the options set its behaviour in this run.
The same board may therefore be correct in one run and slow or broken in the next.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import parse_qsl

from kswatch.db.records import KNOWN_IMPLEMENTATIONS, DeviceRecord
from kswatch.errors import UsageError
from kswatch.profiler.devices.simulated_models import MODELS, BoardModel

PREFIXES = ("sim:", "sim-")
THROTTLE_REASONS = ("", "thermal", "power", "hardware")
LARGEST_NUMBER = 1e9
FACTORS = (1e-6, 1e6)
"""Least and largest factor, period in seconds or interval in ms: none of them is 0."""
PLAIN_NUMBERS = ("seed", "noise", "shift", "throttle_s", "reset_at_s", "sticky_at", "hang_at", "wrong_at")
RANGES = {"memory": (-0.999, 0.999), "drift": (-1.0, 1e3)}
"""Ranges of the options that are neither."""


@dataclass(frozen=True)
class BoardOptions:
    """Behaviour of a simulated board; each field is a key of the query in its name."""

    seed: int | None = None
    """Seed of its noise: equal seeds give equal runs; without a seed every run differs."""
    noise: float = 0.005
    """Standard deviation of a sample, as a share of the true latency."""
    memory: float = 0.2
    """Correlation of successive samples of a cell."""
    shift: float = 0.002
    """Standard deviation of the levels of visits."""
    drift: float = 0.0
    """Slowdown per second, as a share."""
    bimodal: float = 1.0
    """Factor of the latency of half of the samples."""
    throttle: str = ""
    """`thermal`, `power` or `hardware`: reason of throttling; never throttled without a reason."""
    throttle_every_s: float = 20.0
    throttle_s: float = 2.0
    throttle_by: float = 1.5
    """Period of throttling, its duration, and the factor of all latencies meanwhile."""
    tick_ms: float = 20.0
    """Update interval of the energy counter."""
    gain: float = 1.0
    """Readings of its power sensor, as a share of the true power."""
    without: tuple[str, ...] = ()
    """Unsupported functions of NVML, comma-separated names of `BoardModel.supported`."""
    reset_at_s: float = 0.0
    """Time at which a reload of the driver resets the energy counter; 0 for never."""
    sticky_at: int = 0
    """The cell of the run, counted from 1, from which on every call of the process fails."""
    hang_at: int = 0
    """The cell at which the process hangs until it is killed."""
    wrong_at: int = 0
    """The cell whose result is incorrect."""
    slower: dict[str, float] = field(default_factory=dict)
    """Latency factors by implementation: `fused=1.1`."""


@dataclass(frozen=True)
class SimulatedSpec:
    """A simulated device: its board and its behaviour."""

    text: str
    model_key: str
    serial: str
    options: BoardOptions

    @property
    def model(self) -> BoardModel:
        """The board's datasheet."""
        return MODELS[self.model_key]

    @property
    def uuid(self) -> str:
        """`sim-h200`, or `sim-h200-2` for a second board of that model."""
        return "-".join(filter(None, ("sim", self.model_key, self.serial)))

    def device(self) -> DeviceRecord:
        """The device as recorded in the store."""
        return DeviceRecord(
            uuid=self.uuid,
            kind="cuda",
            model=self.model.name,
            simulated=True,
            architecture=self.model.architecture,
            memory_bytes=self.model.memory_bytes,
            cache_bytes=self.model.cache_bytes,
            multiprocessors=self.model.multiprocessors,
        )


def is_simulated(spec: str) -> bool:
    """Whether the name or UUID is that of a simulated device."""
    return spec.strip().lower().startswith(PREFIXES)


def parse(text: str) -> SimulatedSpec:
    """The simulated device with that name or UUID.

    Raises:
        UsageError: no such model or option, or an invalid value.
    """
    name, _, query = text.strip().partition("?")
    parts = name.lower().replace("-", ":").split(":")
    model_key, serial = parts[1], ":".join(parts[2:])
    if model_key not in MODELS or ":" in serial:
        raise UsageError(
            f"no simulated device {text!r}; there are {', '.join(f'sim:{key}' for key in MODELS)}"
        )
    return SimulatedSpec(text.strip(), model_key, serial, _options(query))


def _options(query: str) -> BoardOptions:
    options = BoardOptions()
    known = {each.name: each for each in fields(BoardOptions) if each.name != "slower"}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in KNOWN_IMPLEMENTATIONS:
            options = replace(options, slower={**options.slower, key: _number(key, value)})
        elif key in known:
            options = replace(options, **{key: _value(key, value)})
        else:
            names = ", ".join((*known, "the name of an implementation"))
            raise UsageError(f"simulated devices have no option {key!r}; there are {names}")
    return options


def _value(key: str, text: str) -> Any:  # noqa: ANN401  (of the option's type)
    default = getattr(BoardOptions, key)
    if isinstance(default, tuple):
        functions = {name for model in MODELS.values() for name in model.supported}
        return tuple(_word(key, name, functions) for name in text.split(",") if name)
    if isinstance(default, str):
        return _word(key, text, THROTTLE_REASONS)
    number = _number(key, text)
    if isinstance(default, float):
        return number
    if not number.is_integer():
        raise UsageError(f"{key}={text} of a simulated device is not a whole number")
    return int(number)


def _word(key: str, text: str, known: Collection[str]) -> str:
    if text not in known:
        names = ", ".join(filter(None, sorted(known)))
        raise UsageError(f"{key}={text[:60]} of a simulated device is unknown; there are {names}")
    return text


def _number(key: str, text: str) -> float:
    """A number in the range of this option, or of a factor where the key is an implementation."""
    try:
        number = float(text)
    except ValueError:
        raise UsageError(f"{key}={text[:60]} of a simulated device is not a number") from None
    least, most = RANGES.get(key, (0.0, LARGEST_NUMBER) if key in PLAIN_NUMBERS else FACTORS)
    if not least <= number <= most:
        raise UsageError(
            f"{key}={text[:60]} of a simulated device is out of range: {least:g} to {most:g} are possible"
        )
    return number

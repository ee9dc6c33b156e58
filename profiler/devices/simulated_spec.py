"""A simulated device by its name: `sim:h200`, `sim:h200:2`, `sim:h200?noise=0.02&hang_at=40`.

The part before `?` says which board it is and makes its UUID; the options say how it behaves now.
The same board may therefore be right tonight and slow or broken tomorrow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import parse_qsl

from kswatch.db.records import IMPLEMENTATIONS, DeviceRecord
from kswatch.errors import UsageError
from kswatch.profiler.devices.simulated_models import MODELS, Model

PREFIXES = ("sim:", "sim-")


@dataclass(frozen=True)
class Options:
    """How a simulated board behaves; each is a key of the query in its name."""

    seed: int | None = None
    """Of its noise: equal seeds give equal runs; a run of its own each time where there is none."""
    noise: float = 0.005
    """Standard deviation of a sample, as a share of its truth."""
    memory: float = 0.2
    """Correlation of a cell's sample with the one before."""
    shift: float = 0.002
    """Standard deviation of the levels of whole visits."""
    drift: float = 0.0
    """Share by which everything becomes slower each second."""
    bimodal: float = 1.0
    """Half of the samples take this many times as long."""
    throttle: str = ""
    """`thermal`, `power` or `hardware`: why it slows down now and then."""
    throttle_every_s: float = 20.0
    throttle_s: float = 2.0
    throttle_by: float = 1.5
    """Every so often, for so long, to so many times the time."""
    tick_ms: float = 20.0
    """How often the energy counter changes."""
    gain: float = 1.0
    """What its power sensor tells, as a share of the truth."""
    without: tuple[str, ...] = ()
    """Functions of NVML that do not answer, by commas: what `Model.told` names."""
    reset_at_s: float = 0.0
    """When the driver is reloaded, which sets the energy counter to 0; never where 0."""
    sticky_at: int = 0
    """The cell of the run, counted from 1, at which every call of the process begins to fail."""
    hang_at: int = 0
    """The cell at which the process hangs until it is ended."""
    wrong_at: int = 0
    """The cell whose result is wrong."""
    slower: dict[str, float] = field(default_factory=dict)
    """Factors of implementations' times, each written by its name: `fused=1.1`."""


@dataclass(frozen=True)
class Spec:
    """Which board, and how it behaves."""

    text: str
    model_key: str
    serial: str
    options: Options

    @property
    def model(self) -> Model:
        """The board on paper."""
        return MODELS[self.model_key]

    @property
    def uuid(self) -> str:
        """`sim-h200`, or `sim-h200-2` of a second one."""
        return "-".join(filter(None, ("sim", self.model_key, self.serial)))

    def device(self) -> DeviceRecord:
        """The device as the store knows it."""
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
    """Whether a simulated device is meant, by its name or its UUID."""
    return spec.strip().lower().startswith(PREFIXES)


def parse(text: str) -> Spec:
    """The simulated device of that name or UUID.

    Raises:
        UsageError: no such model or option, or a value that is none.
    """
    name, _, query = text.strip().partition("?")
    parts = name.lower().replace("-", ":").split(":")
    model_key, serial = parts[1], ":".join(parts[2:])
    if model_key not in MODELS or ":" in serial:
        raise UsageError(
            f"no simulated device {text!r}; there are {', '.join(f'sim:{key}' for key in MODELS)}"
        )
    return Spec(text.strip(), model_key, serial, _options(query))


def _options(query: str) -> Options:
    options = Options()
    known = {each.name: each for each in fields(Options) if each.name != "slower"}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in IMPLEMENTATIONS:
            options = replace(options, slower={**options.slower, key: _number(key, value)})
        elif key in known:
            options = replace(options, **{key: _value(key, value)})
        else:
            names = ", ".join((*known, "the name of an implementation"))
            raise UsageError(f"simulated devices have no option {key!r}; there are {names}")
    return options


def _value(key: str, text: str) -> Any:  # noqa: ANN401  (of the option's type)
    default = getattr(Options, key)
    if isinstance(default, tuple):
        return tuple(filter(None, text.split(",")))
    if isinstance(default, str):
        return text
    number = _number(key, text)
    return number if isinstance(default, float) else int(number)


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{key}={text} of a simulated device is no number") from None

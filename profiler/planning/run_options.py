"""Options of a run beyond cold times, stored with its arguments so that a resumed run uses the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kswatch.errors import UsageError
from kswatch.profiler.settings import PROTOCOLS, MeasureSettings


@dataclass(frozen=True)
class RunOptions:
    """Protocol and extra passes of a run."""

    protocol: str = "own"
    """`own`, or `paper`: the protocol of the paper's authors."""
    hot: bool = False
    counters: bool = False

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UsageError(f"unknown protocol {self.protocol!r}; choose from {', '.join(PROTOCOLS)}")

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> RunOptions:
        """The options that `as_arguments` wrote; other keys are ignored."""
        known = {name: arguments[name] for name in cls.__dataclass_fields__ if arguments.get(name)}
        return cls(**known)

    def as_arguments(self) -> dict[str, object]:
        """The options that differ from the defaults, as stored with a run."""
        return {name: value for name, value in vars(self).items() if value != getattr(RunOptions, name)}

    def settings(self, base: MeasureSettings) -> MeasureSettings:
        """The base settings with these options."""
        return replace(base, protocol=self.protocol, hot=self.hot, counters=self.counters)

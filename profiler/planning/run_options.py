"""What a run does beside its cold times; stored with its arguments, so that a resumed run does the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kswatch.errors import UsageError
from kswatch.profiler.settings import PROTOCOLS, MeasureSettings


@dataclass(frozen=True)
class Ways:
    """How a run measures."""

    protocol: str = "own"
    """`own`, or `paper`: as the paper's authors did."""
    hot: bool = False
    counters: bool = False

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UsageError(f"unknown protocol {self.protocol!r}; choose from {', '.join(PROTOCOLS)}")

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Ways:
        """The ways that `as_arguments` wrote; other keys are left alone."""
        known = {name: arguments[name] for name in cls.__dataclass_fields__ if arguments.get(name)}
        return cls(**known)

    def as_arguments(self) -> dict[str, object]:
        """What a run stores: only what is not usual."""
        usual = Ways()
        names = self.__dataclass_fields__
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(usual, name)}

    def settings(self, usual: MeasureSettings) -> MeasureSettings:
        """How carefully a run measures, and what."""
        return replace(usual, protocol=self.protocol, hot=self.hot, counters=self.counters)

"""Messages between the coordinator of an A/B run and a revision's process; frozen values that pickle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from kswatch.db.records import MeasurementRecord, ProblemKey
from kswatch.profiler.settings import MeasureSettings

if TYPE_CHECKING:  # it imports `kswatch.kernels`, which must be the revision's own
    from kswatch.profiler.executors.base import MeasurementSite


@dataclass(frozen=True)
class SetUp:
    """Set a problem up; the answer is the latency in ms of each implementation that may be visited."""

    problem: ProblemKey
    implementations: tuple[str, ...]
    seed: int
    settings: MeasureSettings


@dataclass(frozen=True)
class MakeVisit:
    """Launch one implementation a number of times; the answer is the samples in milliseconds."""

    implementation: str
    launches: int
    turn: int | None
    """The round; None while warming up."""


@dataclass(frozen=True)
class TakeDown:
    """Check the results again, and give the memory back; the answer is the records."""


@dataclass(frozen=True)
class Broken:
    """The revision cannot be used, or a command raised: the reason, and a compiler's log or a traceback."""

    reason: str
    log: str = ""


RevisionCommand: TypeAlias = SetUp | MakeVisit | TakeDown
RevisionAnswer: TypeAlias = (
    "MeasurementSite | dict[str, float] | tuple[float, ...] | list[MeasurementRecord] | Broken"
)

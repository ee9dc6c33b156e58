"""What the coordinator of a gate and a revision's child tell each other; plain frozen values that pickle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from kswatch.db.records import MeasurementRecord, ProblemKey
from kswatch.profiler.settings import MeasureSettings

if TYPE_CHECKING:  # it imports `kernels`, which may be what is broken
    from kswatch.profiler.executors.base import Place


@dataclass(frozen=True)
class SetUp:
    """Set a problem up; answered by a `Standing` for each implementation."""

    problem: ProblemKey
    implementations: tuple[str, ...]
    seed: int
    settings: MeasureSettings


@dataclass(frozen=True)
class MakeVisit:
    """Launch one implementation so often; answered by the samples in milliseconds."""

    implementation: str
    launches: int
    turn: int
    sampled: bool = True
    """False while warming up."""


@dataclass(frozen=True)
class TakeDown:
    """Check the results again, and give the memory back; answered by the records."""


@dataclass(frozen=True)
class Standing:
    """Whether an implementation may be visited (no reason), and how long it takes."""

    implementation: str
    status: str | None
    reason: str | None
    estimate_ms: float


@dataclass(frozen=True)
class Broken:
    """The revision cannot be used, or what was asked for raised: why, and the log of it."""

    reason: str
    log: str = ""
    stage: Literal["build", "measure"] = "measure"


Asked: TypeAlias = SetUp | MakeVisit | TakeDown
Answered: TypeAlias = "Place | list[Standing] | tuple[float, ...] | list[MeasurementRecord] | Broken"

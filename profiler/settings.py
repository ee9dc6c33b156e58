"""Settings of the measuring loop: thresholds of the stopping rule and time caps, with their units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kswatch.db.records import EnvironmentRecord

PROTOCOLS = ("own", "paper")
PLAIN_HALF_WIDTH = 0.005
"""The half width of runs whose environment names none."""

MODEL_FACTOR = 10
"""Limits of time for models, in units of those for products."""


@dataclass(frozen=True)
class MeasureSettings:
    """Conditions that finish a cell, and limits of its cost."""

    protocol: str = "own"
    """`own`, or `paper`: the paper's protocol, for comparison with its published numbers."""
    counters: bool = False
    """Whether hardware counters are read too, in a separate pass."""
    hot: bool = False
    """Whether cells whose operands fit into the caches are timed hot too, as separate measurements."""
    hot_caches: float = 4.0
    """Size limit of the operands of hot cells, in units of the last cache."""
    warm_up_limit_s: float = 60.0
    """Limit of the board's warm-up until clock and temperature are stable."""
    rest_s: float = 1.0
    """Idle time after which the board is warmed up again."""
    throttled_visits_limit: int = 40
    """Number of throttled visits of one problem that may be discarded."""
    cool_down_s: float = 0.5
    """Pause after each discarded visit."""
    warm_up_ms: float = 50.0
    """Warm-up time per problem, shared by its implementations; each gets at least one launch."""
    visit_ms: float = 5.0
    """Duration of one visit to one implementation; an ABBA round has two visits of each."""
    visit_launches: int = 200
    """Maximum number of launches of one visit: those that fit into a queue behind a spin kernel."""
    min_samples: int = 30
    min_timed_ms: float = 30.0
    min_effective_samples: float = 25.0
    half_width: float = PLAIN_HALF_WIDTH
    """A cell is finished when the interval of its median lies within this share of the median."""
    check_growth: float = 1.3
    """Growth of the number of samples between two checks of the stopping rule: each check costs coverage."""
    max_samples: int = 10_000
    cell_cap_ms: float = 2_000.0
    """Time in visits to one cell after which it is finished as `not_converged`."""
    problem_cap_ms: float = 30_000.0
    """The same for all visits to one problem together."""
    slow_factor: float = 2.0
    """A cell slower than the problem's best by this factor is finished after `slow_samples` ..."""
    slow_samples: int = 5
    slow_half_widths: float = 10.0
    """... if its interval lies within this many half widths."""
    too_slow_ms: float = 500.0
    """Predicted latency above which a cell is not timed at all."""
    memory_share: float = 0.9
    """A cell that needs more than this share of the free memory is not measured."""
    energy_settle_s: float = 0.5
    energy_window_s: float = 1.0
    energy_ticks: int = 10
    """A window lasts at least `energy_window_s` and at least this many ticks of the counter."""
    energy_spread: float = 0.01
    """Relative difference of three windows above which five windows of twice the length are measured."""

    def for_models(self) -> MeasureSettings:
        """The settings for forward passes of models, which take ten times as long as a product or more."""
        return replace(
            self,
            too_slow_ms=MODEL_FACTOR * self.too_slow_ms,
            cell_cap_ms=MODEL_FACTOR * self.cell_cap_ms,
            problem_cap_ms=MODEL_FACTOR * self.problem_cap_ms,
        )


def with_half_width(environment: EnvironmentRecord, half_width: float) -> EnvironmentRecord:
    """The environment of a run that measures to this half width: nights of another one are not comparable."""
    if half_width == PLAIN_HALF_WIDTH:
        return environment
    return replace(environment, extra={**environment.extra, "half_width": half_width})


def half_width_of(environment: EnvironmentRecord) -> float:
    """The half width that a run of this environment measures to."""
    stored = environment.extra.get("half_width", PLAIN_HALF_WIDTH)
    return float(stored) if isinstance(stored, int | float) else PLAIN_HALF_WIDTH

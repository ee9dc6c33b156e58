"""How carefully the loop measures: every threshold of the stopping rule, with its unit."""

from __future__ import annotations

from dataclasses import dataclass

PROTOCOLS = ("own", "paper")


@dataclass(frozen=True)
class MeasureSettings:
    """What ends the measuring of a cell, and what it may cost."""

    protocol: str = "own"
    """`paper` times and counts energy as the paper's authors did, for comparison with their numbers."""
    counters: bool = False
    """Whether hardware counters are read too, in a pass of their own."""
    hot: bool = False
    """Whether cells whose operands fit into the caches are timed hot too, as a measurement of its own."""
    hot_caches: float = 4.0
    """Hot is measured only where the operands are smaller than so many last caches."""
    plateau_s: float = 60.0
    """Longest warm-up of the board until clock and temperature are flat; once per run, again after rest."""
    rest_s: float = 1.0
    """A board that did nothing for so long is warmed up again."""
    slowdown_visits: int = 40
    """Visits of one problem that may be set aside because heat or hardware slowed the board down."""
    cool_down_s: float = 0.5
    """Pause after each of them."""
    warm_up_ms: float = 50.0
    """Per problem, shared by its implementations; each gets at least two launches."""
    visit_ms: float = 5.0
    """What one visit to one implementation should last; an ABBA round has two of each."""
    visit_launches: int = 200
    """Most launches of one visit: what fits in a queue behind a spin kernel."""
    min_samples: int = 30
    min_timed_ms: float = 30.0
    min_effective_samples: float = 25.0
    half_width: float = 0.005
    """The interval of the median ends the cell when it lies within this share of the median."""
    look_growth: float = 1.3
    """The rule looks again when the samples have grown by this factor: peeking costs coverage."""
    max_samples: int = 10_000
    cell_cap_ms: float = 2_000.0
    """Time in visits to one cell after which it is `not_converged` with the interval reached."""
    problem_cap_ms: float = 30_000.0
    """The same for all visits to one problem together."""
    slow_factor: float = 2.0
    """A cell this many times slower than the problem's best gets `slow_samples` and no more."""
    slow_samples: int = 5
    too_slow_ms: float = 500.0
    """Predicted time of one product above which it is not timed at all."""
    memory_share: float = 0.9
    """A cell that would need more than this share of the free memory is not tried."""
    energy_settle_s: float = 0.5
    energy_window_s: float = 1.0
    energy_ticks: int = 10
    """A window lasts at least `energy_window_s` and at least this many ticks of the counter."""
    energy_spread: float = 0.01
    """Three windows that differ by more than this are followed by five of twice the length."""

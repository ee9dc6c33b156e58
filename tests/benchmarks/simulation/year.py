"""A year of nights with known causes, as arrays: nothing of it is measured.

The noise between nights is that of real series (`kswatch.ci.simulation.residuals`), scaled to `between`.
Every number of `YearAssumptions` is an assumption about a real machine; the resulting figures hold for these
assumptions only. `recorder` records such a year in a store.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kswatch.ci.simulation import residuals
from kswatch.db.records import ProblemKey
from kswatch.db.statistics import Z_95

IMPLEMENTATIONS = ("fused", "bmm", "bmm_strided", "dense")
PROBLEMS = tuple(
    ProblemKey(a, b, b, d, 4096, precision, layout)
    for a, b, d in (
        (1, 48, 1),
        (4, 48, 1),
        (1, 192, 1),
        (2, 64, 4),
        (1, 48, 16),
        (4, 96, 2),
        (8, 32, 32),
        (1, 256, 2),
        (2, 48, 1),
        (8, 64, 1),
        (4, 128, 1),
        (1, 32, 32),
        (2, 96, 8),
    )
    for precision in ("fp32", "bf16")
    for layout in ("batch_first", "batch_last")
)
CELLS = tuple((problem, name) for name in IMPLEMENTATIONS for problem in PROBLEMS)
COUNT = len(PROBLEMS)


SECOND_MODE = 0.03
SECOND_MODE_NIGHTS = 0.25
"""How far above the first mode the second is, and on what share of the nights."""


@dataclass(frozen=True)
class YearAssumptions:
    """What nights are like; shares and sizes are relative."""

    nights: int = 365
    between: float = 0.005
    """Noise unit of a series from night to night (1.4826 x MAD); its shape is that of real series."""
    within: float = 0.002
    """Standard error of a median within a run; its 95 % interval is recorded."""
    machine: float = 0.005
    """Sigma of what a night does to all series, correlated too; each series takes 0.7 to 1.3 of it."""
    implementation_noise: float = 0.001
    """Sigma of what a night does to all series of one implementation."""
    bimodal: float = 0.1
    """Share of series with a second mode, 3 % above, on a quarter of the nights."""
    throttled: float = 0.02
    """Share of nights on which half of the points are 5 to 15 % slower, and flagged as that."""
    new_code: float = 0.15
    """Share of nights whose revision has other machine code of fused, though as fast."""
    driver_night: int = 120
    swap_night: int = 240
    same_night: float = 0.5
    """Share of the variance between nights that is still there when cells are measured again at once."""
    interleaved: bool = False
    """Whether the last good revision is measured, too, interleaved with the night's; else that one alone."""
    pairs: int = 5
    """Of processes that do so: a good one and a bad one."""
    placement: float = 0.005
    """Sigma of a cell from process to process, each of which may be in a second mode, too."""


@dataclass(frozen=True)
class Cause:
    """A planted regression: on these cells, from a night on, before another."""

    implementation: str
    size: float
    first: int
    end: int
    cells: np.ndarray
    kind: str


@dataclass(frozen=True)
class Year:
    """What was measured, `(cells, nights)`, and what is true."""

    assumptions: YearAssumptions
    times_ms: np.ndarray
    low_ms: np.ndarray
    high_ms: np.ndarray
    canary_ms: np.ndarray
    """Of a launch that only the machine affects, `(nights,)`."""
    again_ms: np.ndarray
    """Each cell measured again on the same night."""
    planted: np.ndarray
    """Logarithm of what causes and drift multiply times with."""
    between_processes: np.ndarray
    """What two processes of one pair differ by in each cell, whatever they run, `(pairs, cells, nights)`."""
    throttled: np.ndarray
    code: np.ndarray
    """A number for the machine code of fused, `(nights,)`."""
    segment: np.ndarray
    """Number of the environment, `(nights,)`."""
    causes: tuple[Cause, ...]
    drift: tuple[int, int] | None = None
    """Nights between which fused drifts by 0.1 % a night."""


def _planted(shape: tuple[int, int], causes: tuple[Cause, ...], drift: tuple[int, int] | None) -> np.ndarray:
    """The logarithm of what the causes and the drift of 0.1 % a night multiply times with."""
    truth = np.zeros(shape)
    for cause in causes:
        truth[cause.cells, cause.first : cause.end] += np.log1p(cause.size)
    if drift is not None:
        first, end = drift
        truth[:COUNT, first:end] += 0.001 * np.arange(end - first)
    return truth


def year(
    seed: int, causes: tuple[Cause, ...] = (), drift: tuple[int, int] | None = None, **changed: float
) -> Year:
    """A year of these causes; `changed` are fields of `YearAssumptions`."""
    assumptions = YearAssumptions(**changed)
    rng = np.random.default_rng(seed)
    shape = (len(CELLS), assumptions.nights)
    truth = _planted(shape, causes, drift)
    own = assumptions.between * residuals.draw(rng, *shape)
    bimodal = rng.random((len(CELLS), 1)) < assumptions.bimodal
    second = bimodal & (rng.random(shape) < SECOND_MODE_NIGHTS)
    machine = assumptions.machine * correlated(rng, (1, assumptions.nights), 0.7)
    shift = machine * rng.uniform(0.7, 1.3, (len(CELLS), 1))
    families = np.repeat(
        assumptions.implementation_noise * rng.standard_normal((len(IMPLEMENTATIONS), assumptions.nights)),
        COUNT,
        axis=0,
    )
    hot = (rng.random(shape) < 0.5) & (rng.random(assumptions.nights) < assumptions.throttled)
    environment = _environment(rng, assumptions)
    base = np.log(rng.uniform(0.1, 10, (len(CELLS), 1)))
    mean = base + truth + shift + families + environment
    times = np.exp(
        mean
        + own
        + SECOND_MODE * second
        + hot * rng.uniform(0.05, 0.15, shape)
        + assumptions.within * rng.standard_normal(shape)
    )
    fresh = assumptions.between * rng.standard_normal(shape)
    again_own = assumptions.same_night * own + np.sqrt(1 - assumptions.same_night**2) * fresh
    again = np.exp(mean + again_own + SECOND_MODE * second + assumptions.within * rng.standard_normal(shape))
    processes = _between_processes(rng, assumptions, bimodal)
    code = _code(rng, assumptions, causes)
    nights = np.arange(assumptions.nights)
    return Year(
        assumptions,
        times,
        times * (1 - Z_95 * assumptions.within),
        times * (1 + Z_95 * assumptions.within),
        np.exp(machine[0] + assumptions.within * rng.standard_normal(assumptions.nights)),
        again,
        truth,
        processes,
        hot,
        code,
        (nights >= assumptions.driver_night).astype(int) + (nights >= assumptions.swap_night),
        causes,
        drift,
    )


def _environment(rng: np.random.Generator, assumptions: YearAssumptions) -> np.ndarray:
    """The logarithm of what a new driver and a swapped board multiply times with."""
    environment = np.zeros((len(CELLS), assumptions.nights))
    driver = np.repeat(0.03 * rng.standard_normal(len(IMPLEMENTATIONS)), COUNT)
    environment[:, assumptions.driver_night :] += driver[:, None]
    environment[:, assumptions.swap_night :] += np.log(rng.uniform(0.9, 1.1, (len(CELLS), 1)))
    return environment


def _code(rng: np.random.Generator, assumptions: YearAssumptions, causes: tuple[Cause, ...]) -> np.ndarray:
    """The number of the machine code of each night: changed at random, and by causes in `fused`."""
    code = np.cumsum(rng.random(assumptions.nights) < assumptions.new_code)
    for cause in causes:
        if cause.implementation == "fused":
            code[cause.first :] += 1
            code[cause.end :] += 1
    return code


def _between_processes(
    rng: np.random.Generator, assumptions: YearAssumptions, bimodal: np.ndarray
) -> np.ndarray:
    shape = (assumptions.pairs, len(CELLS), assumptions.nights)
    sigma = np.hypot(assumptions.placement, assumptions.within) * np.sqrt(2)
    modes = [bimodal & (rng.random(shape) < SECOND_MODE_NIGHTS) for _ in range(2)]
    return sigma * rng.standard_normal(shape) + SECOND_MODE * (modes[0].astype(int) - modes[1])


def correlated(rng: np.random.Generator, shape: tuple[int, int], correlation: float) -> np.ndarray:
    """Normal noise of sigma 1 along the last axis, each value correlated with the one before."""
    noise = rng.standard_normal(shape)
    fresh = np.sqrt(1 - correlation**2)
    for night in range(1, shape[1]):
        noise[:, night] = correlation * noise[:, night - 1] + fresh * noise[:, night]
    return noise


KINDS = {
    "all of it": lambda problem: True,
    "one precision": lambda problem: problem.precision == "bf16",
    "one layout": lambda problem: problem.layout == "batch_first",
    "d > 1": lambda problem: problem.d > 1,
    "two patterns": lambda problem: problem.pattern in ("2,64,64,4", "8,32,32,32"),
}
"""Which cells of an implementation a cause touches."""


def planted(
    seed: int, sizes: tuple[float, ...], first: int = 45, every: int = 20, lasting: int = 8
) -> tuple[Cause, ...]:
    """One cause after the other, each undone after some nights, none near a change of the environment."""
    rng = np.random.default_rng(seed)
    causes = []
    for place, night in enumerate(range(first, 365 - lasting - 4, every)):
        if any(change - lasting - 4 < night < change + 25 for change in (120, 240)):
            continue
        name = IMPLEMENTATIONS[0] if place % 2 == 0 else str(rng.choice(IMPLEMENTATIONS[1:]))
        kind = list(KINDS)[int(rng.integers(len(KINDS)))]
        cells = np.array([of == name and KINDS[kind](problem) for problem, of in CELLS])
        causes.append(
            Cause(name, sizes[len(causes) % len(sizes)], night, night + lasting, np.flatnonzero(cells), kind)
        )
    return tuple(causes)

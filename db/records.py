"""The values that the store records: plain, frozen, and sent between processes as they are.

Units stand in names. None means "not known", never 0; a reason stands beside it where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from kswatch.declared.implementations import names
from kswatch.declared.precisions import OUTPUT_ELEMENT_BYTES, multiply_add_flops

Status = Literal[
    "ok",
    "unsupported",
    "out_of_memory",
    "too_slow",
    "incorrect",
    "implausible",
    "crashed",
    "not_converged",
    "skipped",
]
Mode = Literal["cold", "hot", "unknown"]
RunKind = Literal["nightly", "ad_hoc", "confirm", "gate", "bisect", "import"]
Origin = Literal["measured", "imported", "simulated"]
RunState = Literal["running", "finished", "interrupted", "failed"]
CanaryPosition = Literal["start", "middle", "end"]
CanaryName = Literal["copy", "gemm", "peak"]

AD_HOC: Final = "ad_hoc"
"""The kind of a run that was requested, and the suite name of one over given patterns alone."""
CONFIRM: Final = "confirm"
"""The kind of a run that measures a provisional alert's cells again."""
FUSED: Final = "fused"
"""The implementation that every other one is paired and compared with."""

PRECISIONS: tuple[str, ...] = ("fp32", "tf32", "bf16", "fp16", "fp64", "complex64", "fp8")
LAYOUTS: tuple[str, ...] = ("batch_first", "batch_last")
ELEMENT_BYTES: dict[str, int] = {
    **{"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2},
    **{"fp64": 8, "complex64": 8, "fp8": 1},
}

RIVALS: tuple[str, ...] = names("rival")
"""Baselines that an expert would reach for, of optional libraries; measured where a set asks for them."""
STOCK: tuple[str, ...] = names("paper", "stock")
"""Baselines that a user of stock torch writes."""
PAPER, ALL, EXPERT = "paper", "all", "expert"
BASELINE_SETS: dict[str, tuple[str, ...]] = {
    PAPER: names("paper"),
    ALL: STOCK,
    EXPERT: (*STOCK, *RIVALS),
}
"""The sets that fused is compared with; of `expert` a run has those members that could be had."""
IMPLEMENTATIONS: tuple[str, ...] = (FUSED, *STOCK)
"""Implementations that a suite measures unless others are named."""
KNOWN_IMPLEMENTATIONS: tuple[str, ...] = (FUSED, *BASELINE_SETS[EXPERT])
"""Every implementation of the catalogue, in its order."""

FACTOR: Final = ""
"""The subject of a problem that is one Kronecker-sparse product."""
LAYER: Final = "layer"
"""The subject of a problem that is a linear map of a shape, computed by cells of several families."""

STRUCTURED: Final = "/"
"""In the name of a layer's or a model's cell between the structure of its weights and the implementation."""

FOREIGN: Final = "foreign:"
"""In front of the name of an implementation or a suite of another project, as in `foreign:their_kernel`."""

HEADLINE_MODES: tuple[str, ...] = ("cold", "unknown")
"""Modes that are compared and judged, by preference; never hot."""

COMPARABLE: frozenset[str] = frozenset({"ok", "not_converged"})
"""Statuses that carry a number to compare."""

CANNOT_COMPETE: frozenset[str] = frozenset({"unsupported", "out_of_memory", "too_slow"})
"""A baseline with one of these does not compete; any other status, or no row, leaves the problem out."""


def cell_name(structure: str, implementation: str) -> str:
    """The name of a layer's or a model's cell."""
    return f"{structure}{STRUCTURED}{implementation}"


DENSE_LAYER: Final = cell_name("dense", "linear")
"""A layer's dense matrix, by torch's own product."""
DENSE_AS_PUBLISHED: Final = cell_name("dense", "published")
"""A dense model as its authors wrote it."""
DENSE_FAIR: Final = cell_name("dense", "fair")
"""The same network written as fast as stock torch allows."""


REFERENCES: frozenset[str] = frozenset({FUSED, DENSE_FAIR, DENSE_LAYER})
"""Cells that the others of their problem are paired with: `fused`, or the dense layer or model."""


def is_structured(implementation: str) -> bool:
    """Whether this is the name of a layer's or a model's cell, as `ks 16,64,256,1;1,64,64,16/fused`."""
    return STRUCTURED in implementation


def is_foreign(name: str) -> bool:
    """Whether this is the name of an implementation or a suite of another project: no member of any set."""
    return name.startswith(FOREIGN)


@dataclass(frozen=True, order=True)
class ProblemKey:
    """A problem as the store names it (`kswatch.kernels.problem.Problem`, flattened)."""

    a: int
    b: int
    c: int
    d: int
    batch: int
    precision: str
    layout: str
    subject: str = FACTOR
    """`FACTOR`, `LAYER`, or a model and how it is executed: `vit_s16 eager`.

    A layer of n inputs and m outputs has the pattern (1, m, n, 1), that of a dense factor of its shape; a
    model has (1, 1, 1, 1).
    """

    @property
    def kind(self) -> Literal["factor", "layer", "model"]:
        """The kind of the subject."""
        return "factor" if self.subject == FACTOR else "layer" if self.subject == LAYER else "model"

    @property
    def pattern(self) -> str:
        """The pattern as `a,b,c,d`; of a layer `layer IN,OUT`, of a model its subject."""
        if self.subject == FACTOR:
            return f"{self.a},{self.b},{self.c},{self.d}"
        return f"{LAYER} {self.c},{self.b}" if self.subject == LAYER else self.subject

    @property
    def words(self) -> str:
        """The problem as one line of text."""
        return f"{self.pattern} batch {self.batch} {self.precision} {self.layout}"

    @property
    def fields(self) -> dict[str, object]:
        """Pattern, batch, precision and layout, as rows for scripts and explanations of alerts name them."""
        return {
            "pattern": self.pattern,
            "batch": self.batch,
            "precision": self.precision,
            "layout": self.layout,
        }

    @property
    def compulsory_bytes(self) -> int:
        """Bytes that every implementation must move: input and weights read once, output written once."""
        outputs = self.batch * self.a * self.b * self.d
        read = ELEMENT_BYTES[self.precision] * self.batch * self.a * self.c * self.d
        return read + self.weight_bytes + OUTPUT_ELEMENT_BYTES[self.precision] * outputs

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights of a factor."""
        return ELEMENT_BYTES[self.precision] * self.a * self.b * self.c * self.d

    @property
    def flops(self) -> int:
        """Floating-point operations that a factor needs: 2·batch·abcd, of complex numbers 8·batch·abcd."""
        return multiply_add_flops(self.precision) * self.batch * self.a * self.b * self.c * self.d


@dataclass(frozen=True)
class DeviceRecord:
    """One GPU by its UUID, or the host's CPU."""

    uuid: str
    kind: Literal["cpu", "cuda"]
    model: str
    simulated: bool = False
    architecture: str | None = None
    memory_bytes: int | None = None
    cache_bytes: int | None = None
    multiprocessors: int | None = None
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class EnvironmentRecord:
    """Everything that must be equal for two nights to be comparable; equal values are one row."""

    host: str | None = None
    os: str | None = None
    driver: str | None = None
    cuda: str | None = None
    torch: str | None = None
    power_limit_w: float | None = None
    clock_lock: str | None = None
    ecc: str | None = None
    mig: str | None = None
    threads: int | None = None
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class RevisionRecord:
    """The git commit that was measured; `dirty` when the work tree differed from it."""

    commit: str
    committed_at: datetime | None = None
    subject: str | None = None
    branch: str | None = None
    dirty: bool = False


@dataclass(frozen=True)
class RunRecord:
    """One suite on one device at one revision in one environment, as it begins."""

    suite: str
    device: DeviceRecord
    environment: EnvironmentRecord
    revision: RevisionRecord | None
    kind: RunKind
    origin: Origin
    started_at: datetime
    seed: int = 0
    budget_s: float | None = None
    planned_cells: int | None = None
    arguments: dict[str, object] = field(default_factory=dict)
    """The suite's filters, enough to plan the same cells again when the run is resumed."""
    request_id: int | None = None
    libraries: dict[str, object] = field(default_factory=dict)
    """Versions of the libraries of each rival that was installed, `{"lazylinop": {"pyopencl": "2026.1"}}`,
    and of each foreign implementation of the run."""


@dataclass(frozen=True)
class CounterReading:
    """A hardware counter of one cell; None with the reason where it could not be read."""

    name: str
    value: float | None
    unit: str | None
    reason: str | None = None


@dataclass(frozen=True)
class MeasurementRecord:
    """One cell's result in one run; a failed cell has one too, with its status and reason."""

    problem: ProblemKey
    implementation: str
    status: Status
    mode: Mode = "cold"
    reason: str | None = None
    # latency: the median of the samples with its 95 % interval
    latency_ms: float | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    latency_p05_ms: float | None = None
    latency_p25_ms: float | None = None
    latency_p75_ms: float | None = None
    latency_p95_ms: float | None = None
    sample_count: int | None = None
    effective_samples: float | None = None
    cycles: float | None = None
    # paired with `fused` in the same rounds: this one's latency over fused's
    ratio_to_fused: float | None = None
    ratio_to_fused_low: float | None = None
    ratio_to_fused_high: float | None = None
    # energy per product
    energy_mj: float | None = None
    energy_low_mj: float | None = None
    energy_high_mj: float | None = None
    energy_net_mj: float | None = None
    energy_source: str | None = None
    energy_scope: str | None = None
    energy_reason: str | None = None
    energy_products: int | None = None
    """Products that the energy reading covered."""
    power_w: float | None = None
    second_power_w: float | None = None
    energy_tick_ms: float | None = None
    # state of the machine while it ran
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    event_reasons: str | None = None
    # quality: distance to the roofline, error, memory
    bytes_moved: int | None = None
    flops: int | None = None
    parameters: int | None = None
    """Trainable numbers of a layer or a model."""
    floor_ms: float | None = None
    floor_ratio: float | None = None
    relative_error: float | None = None
    max_error: float | None = None
    memory_peak_bytes: int | None = None
    # the machine code that ran, and its raw samples
    code_hash: str | None = None
    tile: str | None = None
    compile_ms: float | None = None
    """Time that compiling the product for this problem took, where something is compiled."""
    flags: tuple[str, ...] = ()
    samples_ms: tuple[float, ...] = ()
    counters: tuple[CounterReading, ...] = ()


@dataclass(frozen=True)
class CanaryRecord:
    """One reading of a kernel that never changes, at the start, middle or end of a run."""

    position: CanaryPosition
    name: CanaryName
    precision: str
    latency_ms: float
    rate: float
    """Bytes per second of `copy`, flops per second of `gemm` and `peak`."""
    sm_clock_mhz: float | None = None
    temperature_c: float | None = None
    other_cpu_share: float | None = None
    """Share of the host's CPU time that other programs used while the canaries ran; None where unknown."""


def best_rates(canaries: Iterable[Any]) -> tuple[float | None, dict[str, float]]:
    """The highest bytes per second, and flops per second by precision, of canaries, as records or rows.

    Where a library's product is slower than registers alone (`peak`), a better product could reach those, in
    16 bits too, by widening its operands.
    """
    slowest_first = sorted(canaries, key=lambda canary: canary.rate)
    best = {canary.name: canary.rate for canary in slowest_first}
    gemms = {canary.precision: canary.rate for canary in slowest_first if canary.name == "gemm"}
    peak = best.get("peak", 0.0)
    return best.get("copy"), {precision: max(rate, peak) for precision, rate in gemms.items()}


@dataclass(frozen=True, kw_only=True)
class JudgedPoint:
    """The verdict on the newest point of a series."""

    verdict: Literal["faster", "slower", "same", "ambiguous"]
    value: float
    level: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    comparable_runs: int = 0
    reason: str | None = None
    alert_id: int | None = None


@dataclass(frozen=True)
class VerdictRecord(JudgedPoint):
    """The judgement on a cell's series; a speedup's series is that of its `fused` cell."""

    problem: ProblemKey
    implementation: str
    metric: str
    cause: str | None = None
    p_value: float | None = None
    smallest_detectable_change: float | None = None
    drift: float | None = None


@dataclass(frozen=True)
class HeuristicVerdictRecord(JudgedPoint):
    """The judgement on a heuristic's accuracy or regret; `slower` means worse.

    `change` is value - level: both are shares already.
    """

    run_id: int
    heuristic: str
    version: int
    metric: str
    precision: str
    layout: str
    score: Literal["accuracy", "regret"]


@dataclass(frozen=True)
class PredictionRecord:
    """One heuristic's prediction for a problem."""

    problem: ProblemKey
    heuristic: str
    version: int
    predicts_fused: bool
    predicted_speedup: float | None = None

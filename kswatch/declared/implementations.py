"""The implementations, each declared once; every other list, colour or cost term of one is derived from here.

`kernels` computes them and `db` records them, and neither imports the other, so the lines stand below both.
A new implementation is a file below `kernels/` and a line in `DECLARED`
(`docs/guides/add_an_implementation.md`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Group = Literal["fused", "paper", "stock", "rival"]
"""`fused`; a baseline of stock torch, in the paper or beside it; one of a library that a machine may lack."""

FUSED_CHAIN: Final = "fused_chain"
"""An algorithm of layers: two factors of a chain in one pass, each by `fused`."""
SYSTEM_POCL = "libpocl"
"""OpenCL on CPUs of the system's own packages, beside the one that the extra brings."""
LONGEST_NAME = 32
"""The width of the store's columns that hold the name of a best baseline."""


@dataclass(frozen=True)
class Mark:
    """The mark on every chart: its colour on a light and on a dark page, and Plotly's symbol."""

    light: str
    dark: str
    symbol: str


@dataclass(frozen=True)
class Libraries:
    """The distributions of one rival, by the kind of device that it computes on: `cpu` or `cuda`."""

    needed: dict[str, tuple[str, ...]]
    """Without all of these it cannot compute; a kind that is absent is one that it never computes on."""
    one_of: tuple[str, ...] = field(default=())
    """On a CPU it needs one of these besides."""
    recorded: tuple[str, ...] = field(default=())
    """Others that its speed depends on; recorded where they are installed."""
    extra: str | None = None
    """The extra of kswatch that brings them; None for libraries that kswatch itself needs."""


@dataclass(frozen=True)
class Declared:
    """One implementation, in everything that is known without importing it."""

    name: str
    source: str
    """Its module below `kswatch.kernels` and its class, as `baselines.bsr:Bsr`."""
    group: Group
    mark: Mark | None = None
    """Without one it gets the next spare mark of `kswatch.dashboard.charts.palette`."""
    libraries: Libraries | None = None
    """Of a rival: what it needs."""
    in_chains: bool = True
    """Whether layers and models are computed by it as well; never by a rival."""
    extra_work: tuple[int, int] = (0, 0)
    """Powers of the pattern's a and d by which it exceeds the necessary operations and weights. A method with
    extra work permutes nothing."""
    simulated_flops_share: float = 0.65
    """Share of a simulated board's peak rate that it reaches."""
    simulated_passes: float = 1.0
    """How often it reads and writes X and Y on a simulated board where d > 1."""


DECLARED: Final[tuple[Declared, ...]] = (
    Declared(
        "fused",
        "fused.implementation:Fused",
        "fused",
        Mark("#BE3606", "#FF7247", "circle"),
        simulated_flops_share=0.55,
    ),
    Declared("bmm", "baselines.bmm:Bmm", "paper", Mark("#2A58B1", "#8591E1", "square"), simulated_passes=3.0),
    Declared(
        "bmm_strided",
        "baselines.bmm_strided:BmmStrided",
        "stock",
        Mark("#3891FB", "#118FFF", "diamond"),
        simulated_passes=2.0,
    ),
    Declared(
        "bmm_blockdense",
        "baselines.bmm_blockdense:BmmBlockdense",
        "stock",
        Mark("#14A56E", "#6AF9BA", "triangle-up"),
        extra_work=(0, 1),
    ),
    Declared(
        "einsum",
        "baselines.einsum:Einsum",
        "paper",
        Mark("#6A3ACC", "#FFAAFF", "x"),
        simulated_flops_share=0.6,
        simulated_passes=3.0,
    ),
    Declared(
        "bsr",
        "baselines.bsr:Bsr",
        "paper",
        Mark("#BF8200", "#FFAE1A", "triangle-down"),
        simulated_flops_share=0.3,
        simulated_passes=3.0,
    ),
    Declared(
        "csr",
        "baselines.csr:Csr",
        "paper",
        Mark("#829A4A", "#DEF19D", "cross"),
        simulated_flops_share=0.03,
    ),
    Declared(
        "dense",
        "baselines.dense:Dense",
        "paper",
        Mark("#926073", "#BC9AA5", "star"),
        in_chains=False,
        extra_work=(1, 1),
        simulated_flops_share=0.75,
    ),
    Declared(
        "cutensor",
        "baselines.cutensor:Cutensor",
        "rival",
        Mark("#003F42", "#85BC87", "pentagon"),
        Libraries(
            {"cuda": ("nvmath-python",)}, recorded=("cutensor-cu13", "cutensor-cu12"), extra="rivals-gpu"
        ),
    ),
    Declared(
        "compiled",
        "baselines.compiled:Compiled",
        "rival",
        Mark("#09177B", "#6F5FC7", "hexagon"),
        Libraries({"cpu": ("torch",), "cuda": ("torch", "triton")}, extra="rivals-gpu"),
    ),
    Declared(
        "lazylinop",
        "baselines.lazylinop:Lazylinop",
        "rival",
        Mark("#563400", "#8B6636", "bowtie"),
        Libraries(
            {"cpu": ("lazylinop", "pyopencl"), "cuda": ("lazylinop",)},
            one_of=("pocl-binary-distribution", SYSTEM_POCL),
            extra="rivals",
        ),
    ),
    Declared(
        "triton",
        "baselines.triton:Triton",
        "rival",
        Mark("#9E1274", "#BC4379", "hourglass"),
        Libraries({"cuda": ("triton",)}, extra="rivals-gpu"),
    ),
)

BY_NAME: Final[dict[str, Declared]] = {one.name: one for one in DECLARED}


def names(*groups: Group) -> tuple[str, ...]:
    """The names of these groups, in the order of their lines."""
    return tuple(one.name for one in DECLARED if one.group in groups)


def names_in_chains() -> tuple[str, ...]:
    """The baselines by which layers and models are computed, in the order of their lines."""
    return tuple(one.name for one in DECLARED if one.in_chains and one.group in ("paper", "stock"))

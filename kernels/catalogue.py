"""The one list of the ways to compute a Kronecker-sparse product; a new one is a line here."""

from __future__ import annotations

from kernels.baselines.bmm import Bmm
from kernels.baselines.bmm_blockdense import BmmBlockdense
from kernels.baselines.bmm_strided import BmmStrided
from kernels.baselines.bsr import Bsr
from kernels.baselines.csr import Csr
from kernels.baselines.dense import Dense
from kernels.baselines.einsum import Einsum
from kernels.fused.implementation import Fused
from kernels.implementation import Implementation
from kswatch_errors import UsageError

IMPLEMENTATIONS: tuple[Implementation, ...] = (
    Fused(),
    Bmm(),
    BmmStrided(),
    BmmBlockdense(),
    Einsum(),
    Bsr(),
    Csr(),
    Dense(),
)


def implementation(name: str) -> Implementation:
    """The implementation of that name.

    Raises:
        UsageError: there is none.
    """
    for candidate in IMPLEMENTATIONS:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in IMPLEMENTATIONS)
    raise UsageError(f"unknown implementation {name!r}; choose from {names}")

"""The one explicit list of implementations. A new one is a file and a line here."""

from __future__ import annotations

from kswatch.errors import UsageError
from kswatch.kernels.baselines.bmm import Bmm
from kswatch.kernels.baselines.bmm_blockdense import BmmBlockdense
from kswatch.kernels.baselines.bmm_strided import BmmStrided
from kswatch.kernels.baselines.bsr import Bsr
from kswatch.kernels.baselines.csr import Csr
from kswatch.kernels.baselines.dense import Dense
from kswatch.kernels.baselines.einsum import Einsum
from kswatch.kernels.fused.implementation import Fused
from kswatch.kernels.implementation import Implementation

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
    """The implementation with the given name.

    Raises:
        UsageError: no implementation has this name.
    """
    for candidate in IMPLEMENTATIONS:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in IMPLEMENTATIONS)
    raise UsageError(f"unknown implementation {name!r}; choose from {names}")

"""The explicit lists of implementations. A new one is a file and a line here."""

from __future__ import annotations

from kswatch.errors import UsageError
from kswatch.kernels.baselines.bmm import Bmm
from kswatch.kernels.baselines.bmm_blockdense import BmmBlockdense
from kswatch.kernels.baselines.bmm_strided import BmmStrided
from kswatch.kernels.baselines.bsr import Bsr
from kswatch.kernels.baselines.compiled import Compiled
from kswatch.kernels.baselines.csr import Csr
from kswatch.kernels.baselines.cutensor import Cutensor
from kswatch.kernels.baselines.dense import Dense
from kswatch.kernels.baselines.einsum import Einsum
from kswatch.kernels.baselines.lazylinop import Lazylinop
from kswatch.kernels.baselines.triton import Triton
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
"""`fused` and the baselines of stock torch, which are measured unless others are named."""

RIVALS: tuple[Implementation, ...] = (
    Cutensor(),
    Compiled(),
    Lazylinop(),
    Triton(),
)
"""Baselines of libraries that a machine may lack (extras `rivals`, `rivals-gpu`); measured on request."""


def implementation(name: str) -> Implementation:
    """The implementation with the given name.

    Raises:
        UsageError: no implementation has this name.
    """
    known = (*IMPLEMENTATIONS, *RIVALS)
    for candidate in known:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in known)
    raise UsageError(f"unknown implementation {name!r}; choose from {names}")

"""Kronecker-sparse products: the layer, the nightly profiler of its kernel, and the command line.

`from kswatch import KSLinear` is what a model needs. The folders of the repository are packages below this
one (`kswatch.kernels`, `kswatch.profiler`, `kswatch.db`, `kswatch.ci`, `kswatch.dashboard`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kswatch.kernels.linear import KSLinear

__all__ = ["KSLinear"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562: the type is the attribute's own)
    """Load `KSLinear` on first use: importing kswatch imports neither torch nor the command line."""
    if name == "KSLinear":
        from kswatch.kernels.linear import KSLinear

        return KSLinear
    raise AttributeError(f"module 'kswatch' has no attribute {name!r}")

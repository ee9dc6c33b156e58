"""What is measured: Kronecker-sparse products and the ways to compute them.

Knows torch, numpy and PyCUDA; nothing of time, energy or stores.
"""

from typing import Any

__all__ = ["KSLinear"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562: the type is the attribute's own)
    """Load `KSLinear` on first use, so that importing a pattern never imports torch."""
    if name == "KSLinear":
        from kswatch.kernels.linear import KSLinear

        return KSLinear
    raise AttributeError(f"module 'kernels' has no attribute {name!r}")

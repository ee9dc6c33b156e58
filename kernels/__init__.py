"""Kronecker-sparse products and the implementations that compute them.

Uses torch, numpy and PyCUDA; independent of measurement and of the store.
"""

from typing import Any

__all__ = ["KSLinear"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562: the type is the attribute's own)
    """Load `KSLinear` on first use, so that importing a pattern does not import torch."""
    if name == "KSLinear":
        from kswatch.kernels.linear import KSLinear

        return KSLinear
    raise AttributeError(f"module 'kswatch.kernels' has no attribute {name!r}")

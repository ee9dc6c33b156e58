"""Fast transforms of a power of two of numbers, each as a chain of Kronecker-sparse factors.

`hadamard(n)`, `fft(n)`, `ifft(n)` and `dct(n)` return a `Transform`, a `torch.nn.Module` over the last axis,
or the first one in `batch_last`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kswatch.kernels.transforms.build import dct, fft, hadamard, ifft
    from kswatch.kernels.transforms.transform import Transform

__all__ = ["Transform", "dct", "fft", "hadamard", "ifft"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562: the type is the attribute's own)
    """Load a name on first use, so that importing kswatch imports no torch."""
    if name in __all__:
        module = "transform" if name == "Transform" else "build"
        return getattr(import_module(f"kswatch.kernels.transforms.{module}"), name)
    raise AttributeError(f"module 'kswatch.kernels.transforms' has no attribute {name!r}")

"""Kronecker-sparse products: the layer, the nightly profiler of its kernel, and the command line.

`from kswatch import KSLinear` is what a model needs, or `STLinear`, by tiles as in Strassen's algorithm;
`plan`, `replace` and `chains` put chains into a model, and `export_onnx` and `export_portable` write models
for machines without this package. `transforms` has fast transforms as chains. The folders of the repository
are packages below this one (`kswatch.kernels`, `kswatch.profiler`, `kswatch.db`, `kswatch.ci`,
`kswatch.dashboard`).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kswatch.adoption import plan
    from kswatch.kernels import transforms
    from kswatch.kernels.adoption.chains import chains
    from kswatch.kernels.adoption.replacement import replace
    from kswatch.kernels.family_layers.st_linear import STLinear
    from kswatch.kernels.layer.portable_export import export_onnx, export_portable
    from kswatch.kernels.linear import KSLinear

__all__ = [
    "KSLinear",
    "STLinear",
    "chains",
    "export_onnx",
    "export_portable",
    "plan",
    "replace",
    "transforms",
]

_MODULES = {
    "KSLinear": "kswatch.kernels.linear",
    "STLinear": "kswatch.kernels.family_layers.st_linear",
    "chains": "kswatch.kernels.adoption.chains",
    "export_onnx": "kswatch.kernels.layer.portable_export",
    "export_portable": "kswatch.kernels.layer.portable_export",
    "plan": "kswatch.adoption",
    "replace": "kswatch.kernels.adoption.replacement",
    "transforms": "kswatch.kernels",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562: the type is the attribute's own)
    """Load a name on first use: importing kswatch imports neither torch nor the command line."""
    if name == "transforms":  # a package
        return import_module(f"{_MODULES[name]}.{name}")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'kswatch' has no attribute {name!r}")

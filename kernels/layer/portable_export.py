"""Models exported to files that need neither this package nor its kernels: ONNX, and `.pt2`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch

from kswatch.errors import UsageError
from kswatch.kernels.layer.operator_formulas import DECOMPOSITIONS

ONNX_PACKAGES = ("onnx", "onnxscript")

Shapes = Mapping[str, Any] | tuple[Any, ...] | list[Any] | None
"""Dynamic axes as in `torch.export.export`: for a batch on axis 0, `({0: torch.export.Dim("batch")},)`."""


def export_portable(
    model: torch.nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Shapes = None,
    strict: bool = False,
) -> torch.export.ExportedProgram:
    """The model as a program of torch's own operators, which `torch.export.load` reads without this package.

    `torch.export.export` keeps each factor as `torch.ops.kswatch.product`, so its file needs
    `from kswatch import KSLinear` before it is loaded; our kernels compute it then, and torch's this one.

    Args:
        model: Exported in the mode that it is in; call `eval()` first for inference.
        args: Example inputs.
        kwargs: Example keyword inputs.
        dynamic_shapes: The axes whose size may differ from that of the examples.
        strict: As in `torch.export.export`.
    """
    program = torch.export.export(
        model, args, dict(kwargs or {}), dynamic_shapes=dynamic_shapes, strict=strict
    )
    return program.run_decompositions(DECOMPOSITIONS)


def export_onnx(
    model: torch.nn.Module,
    args: tuple[Any, ...],
    path: str | PathLike[str] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Shapes = None,
    **options: Any,  # noqa: ANN401
) -> torch.onnx.ONNXProgram:
    """The model as an ONNX program, each factor as a batch of dense products; written to `path` if given.

    Args:
        model: Exported in the mode that it is in; call `eval()` first for inference.
        args: Example inputs.
        path: The `.onnx` file; weights are in it unless `options` has `external_data=True`.
        kwargs: Example keyword inputs.
        dynamic_shapes: The axes whose size may differ from that of the examples.
        options: Others of `torch.onnx.export`: `input_names`, `output_names`, `opset_version` and so on.

    Raises:
        UsageError: the packages onnx and onnxscript are not installed.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX export needs {' and '.join(missing)}: pip install 'kswatch[onnx]'")
    options = {"external_data": False, "verbose": False, **options}
    program = torch.onnx.export(
        model,
        args,
        path,
        kwargs=dict(kwargs or {}),
        dynamic_shapes=dynamic_shapes,
        dynamo=True,
        **options,
    )
    assert program is not None
    return program

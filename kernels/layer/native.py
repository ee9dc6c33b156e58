"""Small products on the CPU by one call of C++, built on first use where there is a compiler.

Without it, or for anything that it leaves to Python, results are the same bit for bit, only slower to start.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.machinery
import importlib.util
import logging
import os
import sysconfig
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from kswatch.errors import KswatchError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.artifacts.host_compiler import find_compiler, run_compiler
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.layer.prepared_products import PRECISION_OF, chosen
from kswatch.kernels.problem import Layout

NAME = "kswatch_small_products"
SOURCE = Path(__file__).parent / "source" / "small_products.cpp"
FLAGS = ("-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-w")
SWITCH = "KSWATCH_NATIVE"
"""An environment variable; 0 keeps the C++ from being built and used."""

MOST_WEIGHTS = 32768
"""`kMostWeights` of the C++: laying out more at each call would take longer than Python does."""

_log = logging.getLogger(__name__)
_plans: list[twin.TwinPlan] = []
"""Kept, since the C++ holds their addresses."""


@cache
def load() -> ModuleType | None:
    """The built module; None where it is switched off or cannot be built, with the reason in the log."""
    if os.environ.get(SWITCH) == "0" or isinstance(twin.load(), str):
        return None
    try:
        return _imported(_built())
    except (KswatchError, OSError, ImportError) as error:
        _log.info("small products are computed without C++: %s", error)
        return None


def start(
    module: ModuleType,
    compute: Callable[..., Any],
    differentiate: Callable[..., Any],
    factor_type: type,
    factor_forward: Callable[..., Any],
) -> None:
    """Give the module the twin, the Python functions for what it leaves to Python, and torch's hooks.

    Args:
        module: From `load`; its kernel of the operator replaces that of Python.
        compute: The operator's kernel in Python.
        differentiate: Its gradients.
        factor_type: The class of factors that need not be called as modules.
        factor_forward: Its own `forward`; with another one in its place, factors are called.
    """
    multiply = ctypes.cast(twin.require_twin().functions.kswatch_twin_multiply_weights, ctypes.c_void_p).value
    types = (torch.Tensor, nn.Parameter, factor_type, nn.ModuleList, nn.Module.__call__, factor_forward)
    names = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")
    hooks = tuple(getattr(torch_module, f"_global_{name}") for name in names)
    module.start(multiply, find_plan, compute, differentiate, types, hooks)


def find_plan(weight: torch.Tensor, batch: int, transposed: bool, algorithm: str, batch_last: bool) -> int:
    """The address of the twin's plan for a product; 0 where the algorithm chooses something else."""
    layout: Layout = "batch_last" if batch_last else "batch_first"
    key = algorithm, batch, PRECISION_OF[weight.dtype], layout, bool(transposed)
    implementation, problem = chosen(weight, key)
    if implementation.name != "fused":
        return 0
    plan = twin.plan_for(problem)
    _plans.append(plan)
    return plan.address


def _built() -> Path:
    compiler, torch_folder = find_compiler(), Path(torch.__file__).parent
    includes = [torch_folder / "include", torch_folder / "include/torch/csrc/api/include"]
    arguments = [*FLAGS, *(f"-I{folder}" for folder in (*includes, sysconfig.get_path("include")))]
    libraries = [f"-L{torch_folder / 'lib'}", "-ltorch_python", "-ltorch_cpu", "-lc10"]
    parts = [SOURCE.read_bytes(), repr((arguments, torch.__version__)).encode()]
    parts.append(run_compiler([compiler, "--version"]).encode())
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()
    path = cache_folder() / f"{NAME}-{key}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="small-products-building-") as folder:
            built = Path(folder) / path.name
            run_compiler([compiler, *arguments, "-o", str(built), str(SOURCE), *libraries])
            built.replace(path)
    return path


def _imported(path: Path) -> ModuleType:
    loader = importlib.machinery.ExtensionFileLoader(NAME, str(path))
    spec = importlib.util.spec_from_file_location(NAME, path, loader=loader)
    if spec is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module

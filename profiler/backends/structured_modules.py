"""The modules of any layer or model, by its problem; and one run of one cell in a process of its own."""

from __future__ import annotations

import torch

from kswatch.kernels.networks.weights import EqualWeights
from kswatch.kernels.precision import precision_scope
from kswatch.profiler.backends.layer_modules import LayerModules
from kswatch.profiler.backends.model_modules import ModelModules
from kswatch.profiler.backends.module_workload import Modules, ModuleWorkload
from kswatch.profiler.subjects.cells import StructuredProblem, structured_cell
from kswatch.profiler.subjects.problems import ModelForward


def modules_of(problem: StructuredProblem, device: torch.device, seed: int) -> Modules:
    """How the cells of this layer or model are built, run and checked on a device."""
    if isinstance(problem, ModelForward):
        return ModelModules(problem, device, seed)
    return LayerModules(problem, device, seed)


def structured_workload(
    problem: StructuredProblem,
    device: torch.device,
    seed: int,
    cache_bytes: int = 0,
    flushed_cache_bytes: int = 0,
) -> ModuleWorkload:
    """The layer or model set up on a device; the caches are those of `ModuleWorkload`."""
    return ModuleWorkload(modules_of(problem, device, seed), cache_bytes, flushed_cache_bytes)


def run_once(problem: StructuredProblem, name: str, seed: int, threads: int) -> None:
    """Build a cell on the CPU and compute it once, for the memory that it takes."""
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    if isinstance(problem, ModelForward):
        modules: Modules = ModelModules(problem, device, seed, EqualWeights())
    else:
        modules = modules_of(problem, device, seed)
    with torch.inference_mode(), precision_scope(problem):  # type: ignore[arg-type]
        modules.build(structured_cell(problem, name))(modules.make_input())

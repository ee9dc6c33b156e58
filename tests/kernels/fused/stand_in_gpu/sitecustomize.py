"""A GPU that is none, for every Python process with this folder on its PYTHONPATH: rehearsals of a visit.

Devices of CUDA are the CPU, and the fused product is float64's, rounded: what is rehearsed are the programs
around the kernels, with their arguments, files and child processes. Large operands are left unfilled.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import torch

from kswatch.kernels import reference
from kswatch.kernels.fused.cuda import driver, launch
from kswatch.kernels.fused.cuda.machine import Machine
from kswatch.kernels.implementation import STORAGE_DTYPES

FILLED_BATCH = 4096
"""The largest that is computed; the ladder's problems would take minutes."""

real_device = torch.device
real_operands = reference.make_operands


class AnyDevice(type):
    """So that `isinstance` goes on with torch's own."""

    def __instancecheck__(cls, value):
        return isinstance(value, real_device)

    def __call__(cls, kind, index=None):
        return real_device("cpu", 0) if str(kind).startswith("cuda") else real_device(kind)


class Device(metaclass=AnyDevice):
    """`torch.device` whose `cuda` is the CPU."""


class Event:
    """One that took a millisecond."""

    def __init__(self, enable_timing=False):
        pass

    def record(self):
        pass

    def elapsed_time(self, end):
        return 1.0


def make_operands(problem, device, seed):
    if problem.batch <= FILLED_BATCH:
        return real_operands(problem, device, seed)
    dtype = STORAGE_DTYPES[problem.precision]
    return torch.empty(problem.pattern.as_tuple(), dtype=dtype), torch.empty(problem.input_shape, dtype=dtype)


def launcher(problem, weights, bias, tile):
    def product(x, empty=torch.empty):
        y = empty(problem.output_shape, dtype=weights.dtype, device=x.device)
        if problem.batch > FILLED_BATCH:
            return y
        truth = reference.reference(problem, weights, x)
        if bias is not None:
            truth = truth + (bias.double() if problem.layout == "batch_first" else bias.double()[:, None])
        return y.copy_(truth)

    return product


torch.device = Device
torch.cuda.is_available = lambda: True
torch.cuda.current_device = lambda: 0
torch.cuda.synchronize = lambda device=None: None
torch.cuda.get_device_name = lambda device=None: "a stand-in for a GPU"
torch.cuda.get_device_properties = lambda device=None: SimpleNamespace(
    uuid="GPU-stand-in", major=9, minor=0, multi_processor_count=132
)
torch.cuda.device = lambda device: nullcontext()
torch.cuda.Event = Event
driver.machine = lambda device: Machine(90, 132)
launch.launcher = launcher
reference.make_operands = make_operands

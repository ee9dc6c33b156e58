"""A fake GPU for every Python process with this folder on its PYTHONPATH, to rehearse a session on a GPU.

CUDA devices are the CPU, and the fused product is the rounded float64 reference: this rehearses the programs
around the kernels, with their arguments, files and child processes. Large operands are not initialised.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import torch

from kswatch.kernels import reference
from kswatch.kernels.fused.cuda import driver, launch
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.implementation import STORAGE_DTYPES, WEIGHT_DTYPES

FILLED_BATCH = 4096
"""The largest batch that is computed; the problems of the ladder would take minutes."""

real_device = torch.device
real_operands = reference.make_operands


class AnyDevice(type):
    """Makes `isinstance` accept torch's own devices."""

    def __instancecheck__(cls, value):
        return isinstance(value, real_device)

    def __call__(cls, kind, index=None):
        return real_device("cpu", 0) if str(kind).startswith("cuda") else real_device(kind)


class Device(metaclass=AnyDevice):
    """`torch.device` whose `cuda` is the CPU."""


class Event:
    """An event whose elapsed time is a millisecond."""

    def __init__(self, enable_timing=False):
        pass

    def record(self):
        pass

    def elapsed_time(self, end):
        return 1.0


def make_operands(problem, device, seed):
    if problem.batch <= FILLED_BATCH:
        return real_operands(problem, device, seed)
    w_dtype, x_dtype = WEIGHT_DTYPES[problem.precision], STORAGE_DTYPES[problem.precision]
    weights = torch.empty(problem.pattern.as_tuple(), dtype=w_dtype)
    return weights, torch.empty(problem.input_shape, dtype=x_dtype)


def prepare_unchecked(problem, weights, bias, tile):
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
driver.gpu_properties = lambda device: GpuProperties(90, 132)
launch.prepare_unchecked = prepare_unchecked
reference.make_operands = make_operands

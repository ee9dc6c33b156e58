"""PyCUDA beside torch: they share the primary context and the stream; kernels stay loaded.

`pycuda.driver` cannot be imported without NVIDIA's driver, so it is imported on first use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda.compile import Cubin
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties

PRODUCT, SECOND_PASS, CHAIN = "ks_product", "ks_sum_parts", "ks_chain"
PLAIN_SHARED_BYTES = 48 * 1024
"""Dynamic shared memory that a kernel may use without raising its limit."""

NON_BLOCKING = 1
"""Flag of a stream that does not wait for the legacy default stream (CU_STREAM_NON_BLOCKING)."""


@cache
def pycuda_driver() -> ModuleType:
    """`pycuda.driver`, initialised.

    Raises:
        UnsupportedError: PyCUDA is not installed, or there is no driver.
    """
    try:
        from pycuda import driver
    except ImportError as error:
        raise UnsupportedError(
            f"PyCUDA cannot be imported ({error}); on a machine with an NVIDIA driver "
            "install it by `pip install 'kswatch[gpu]'`"
        ) from error
    driver.init()
    return driver


@cache
def gpu_properties(device: torch.device) -> GpuProperties:
    """The properties of a GPU that tiles depend on."""
    properties = torch.cuda.get_device_properties(device)
    return GpuProperties(10 * properties.major + properties.minor, properties.multi_processor_count)


@contextmanager
def current_context(device: torch.device) -> Iterator[None]:
    """Select the device and make its context current in this thread, which driver calls require.

    The CUDA runtime makes a context current only at the first runtime call of a thread.
    """
    with torch.cuda.device(device):
        if device not in _thread.devices:
            torch.cuda.mem_get_info(device)
            _thread.devices.add(device)
        yield


class _Thread(threading.local):
    """Devices whose context has been current in this thread."""

    def __init__(self) -> None:
        self.devices: set[torch.device] = set()


_thread = _Thread()


@contextmanager
def primary_context(device: torch.device) -> Iterator[None]:
    """Push the device's context, shared with torch, onto PyCUDA's stack, and pop it again.

    A context left on the stack makes PyCUDA abort at exit.
    """
    with current_context(device):
        context = _retained(device)
        context.push()
        try:
            yield
        finally:
            context.pop()


@cache
def _retained(device: torch.device) -> Any:  # noqa: ANN401  (PyCUDA has no types)
    return pycuda_driver().Device(device.index).retain_primary_context()


Kernel = Callable[..., None]
"""`kernel(grid, block, packed arguments, shared bytes, stream)` launches on one of PyCUDA's streams."""


@cache
def load(compiled: Cubin, device: torch.device, name: str, shared_bytes: int) -> Kernel:
    """A function of a cubin, which stays loaded; `shared_bytes` is the most dynamic memory of a launch.

    This is the call that PyCUDA's prepared calls make after packing all arguments again.

    Raises:
        UnsupportedError: the driver does not load the cubin.
    """
    driver = pycuda_driver()
    with primary_context(device):
        try:
            function = driver.module_from_buffer(compiled.code).get_function(name)
        except driver.Error as error:
            raise UnsupportedError(
                f"the driver does not load the compiled kernel: {error}; "
                "update it, or use a CUDA toolkit that is no newer than it"
            ) from error
        if shared_bytes > PLAIN_SHARED_BYTES:
            attribute = driver.function_attribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            function.set_attribute(attribute, shared_bytes)
    _side_stream(device)  # now, because a stream cannot be created during a graph capture
    kernel: Kernel = function._launch_kernel
    return kernel


# ---- streams --------------------------------------------------------------------------------------

_streams: dict[int, Any] = {0: None}
"""PyCUDA's streams by handle, the default one first; PyCUDA launches only on streams that it created."""


def new_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream for `torch.cuda.stream(...)` on which both torch and the fused kernel launch directly."""
    with primary_context(device):
        stream = pycuda_driver().Stream(NON_BLOCKING)
    _streams[stream.handle] = stream  # torch does not keep it alive
    return torch.cuda.ExternalStream(stream.handle, device=device)


_side_stream = cache(new_stream)


def on_current_stream(device: torch.device, launch: Callable[[Any], None]) -> None:
    """Call `launch(stream)` in order with the work that torch has queued before and queues afterwards.

    torch's default stream is the driver's, which is None in PyCUDA; streams of `new_stream` are
    known. For any other (a pool stream, a graph capture) the launch goes to a side stream, and events
    order the two streams before and after it.
    """
    with current_context(device):
        torch_stream = torch.cuda.current_stream(device)
        if torch_stream.cuda_stream in _streams:
            return launch(_streams[torch_stream.cuda_stream])
        side_stream = _side_stream(device)
        side_stream.wait_stream(torch_stream)
        launch(_streams[side_stream.cuda_stream])
        torch_stream.wait_stream(side_stream)


NO_DIRECT_STREAM = object()


def direct_stream(device: torch.device) -> Any:  # noqa: ANN401
    """The current stream, where a launch may use it directly; else `NO_DIRECT_STREAM`."""
    if current_device() != device.index or device not in _thread.devices:
        return NO_DIRECT_STREAM
    return _streams.get(current_stream_handle(device.index), NO_DIRECT_STREAM)


# ---- torch's functions that Inductor's generated code uses -------------------------------------------
# `torch.cuda` first checks that CUDA is initialised, and creates an object for a stream; `torch.empty`
# spends more time on parsing its arguments than on allocating.

current_device: Callable[[], int] = getattr(torch._C, "_cuda_getDevice", torch.cuda.current_device)
current_stream_handle: Callable[[int], int] = getattr(
    torch._C, "_cuda_getCurrentRawStream", lambda index: torch.cuda.current_stream(index).cuda_stream
)
empty_on_device: Callable[..., torch.Tensor] = getattr(
    torch._C._dynamo.guards,
    "_empty_strided_cuda",
    lambda shape, strides, dtype: torch.empty_strided(shape, strides, dtype=dtype, device="cuda"),
)
"""An uninitialised tensor of a shape, strides and dtype on torch's current device."""

"""PyCUDA beside torch: one primary context, one stream, loaded kernels.

`pycuda.driver` cannot be imported without NVIDIA's driver, so that it is imported on first use.
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
from kswatch.kernels.fused.cuda.machine import Machine

PRODUCT, SECOND_PASS = "ks_product", "ks_sum_parts"
PLAIN_SHARED_BYTES = 48 * 1024
"""More than this a kernel must ask for."""

NON_BLOCKING = 1
"""A stream that does not wait for the legacy default stream (CU_STREAM_NON_BLOCKING)."""


@cache
def pycuda_driver() -> ModuleType:
    """`pycuda.driver`, initialised.

    Raises:
        UnsupportedError: it is not installed, or there is no driver.
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
def machine(device: torch.device) -> Machine:
    """What tiles depend on."""
    properties = torch.cuda.get_device_properties(device)
    return Machine(10 * properties.major + properties.minor, properties.multi_processor_count)


@contextmanager
def current(device: torch.device) -> Iterator[None]:
    """The device, with its context current in this thread, as the driver's calls take for granted.

    The runtime below torch makes a thread's context current only when it first needs it itself.
    """
    with torch.cuda.device(device):
        if device not in _thread.devices:
            torch.cuda.mem_get_info(device)
            _thread.devices.add(device)
        yield


class _Thread(threading.local):
    """Devices whose context this thread has seen."""

    def __init__(self) -> None:
        self.devices: set[torch.device] = set()


_thread = _Thread()


@contextmanager
def primary_context(device: torch.device) -> Iterator[None]:
    """The device's context, torch's own, on PyCUDA's stack; left there, PyCUDA would abort at exit."""
    with current(device):
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
    """A function of a cubin, kept loaded.

    It is what PyCUDA's prepared calls end in, once they have packed all arguments anew.

    Args:
        compiled: Whose code it is.
        device: Where it is loaded.
        name: The function's.
        shared_bytes: The most that a launch will ask for.

    Raises:
        UnsupportedError: the driver does not take the cubin.
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
    _side_stream(device)  # now: a graph capture is no time to make a stream
    kernel: Kernel = function._launch_kernel
    return kernel


# ---- streams --------------------------------------------------------------------------------------

_streams: dict[int, Any] = {0: None}
"""PyCUDA's streams by handle, the default one first; PyCUDA launches on no stream that it has not made."""


def new_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream for `torch.cuda.stream(...)` on which torch and our kernels both launch directly."""
    with primary_context(device):
        stream = pycuda_driver().Stream(NON_BLOCKING)
    _streams[stream.handle] = stream  # torch does not keep it alive
    return torch.cuda.ExternalStream(stream.handle, device=device)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return new_stream(device)


def on_current_stream(device: torch.device, launch: Callable[[Any], None]) -> None:
    """Calls `launch(stream)` so that it is ordered with what torch has queued and will queue.

    torch's default stream is the driver's, which PyCUDA calls None; streams of `new_stream` are
    known. From any other (a pool stream, a graph capture) the launch goes to a stream of ours that
    waits for it and that it waits for.
    """
    with current(device):
        theirs = torch.cuda.current_stream(device)
        if theirs.cuda_stream in _streams:
            return launch(_streams[theirs.cuda_stream])
        ours = _side_stream(device)
        ours.wait_stream(theirs)
        launch(_streams[ours.cuda_stream])
        theirs.wait_stream(ours)


NOT_DIRECTLY = object()


def direct_stream(device: torch.device) -> Any:  # noqa: ANN401
    """The current stream where a launch may go to it at once, else `NOT_DIRECTLY`."""
    if current_device() != device.index or device not in _thread.devices:
        return NOT_DIRECTLY
    return _streams.get(current_stream_handle(device.index), NOT_DIRECTLY)


# ---- as Inductor asks torch -------------------------------------------------------------------------
# `torch.cuda` asks first whether CUDA is ready, and makes an object of a stream; `torch.empty` takes longer
# to read its arguments than to allocate.


def _empty_there(shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty_strided(shape, strides, dtype=dtype, device="cuda")


current_device: Callable[[], int] = getattr(torch._C, "_cuda_getDevice", torch.cuda.current_device)
current_stream_handle: Callable[[int], int] = getattr(
    torch._C, "_cuda_getCurrentRawStream", lambda index: torch.cuda.current_stream(index).cuda_stream
)
empty_there: Callable[..., torch.Tensor] = getattr(
    torch._C._dynamo.guards, "_empty_strided_cuda", _empty_there
)
"""An uninitialised tensor of a shape, strides and dtype on torch's current device."""

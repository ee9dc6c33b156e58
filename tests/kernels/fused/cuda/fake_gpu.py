"""A fake GPU: the CPU emulation behind PyCUDA's interface.

The fake refuses the same as the driver: a call without a context, more shared memory than the limit of the
kernel, arguments of another size. Its launches compute the product.
"""

from __future__ import annotations

import hashlib
import struct
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import driver, launch, trust_record
from kswatch.kernels.fused.cuda.arguments import FORMAT
from kswatch.kernels.fused.cuda.compile import Cubin
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import PtxasReport
from kswatch.kernels.fused.cuda.tile import SUM_THREADS
from kswatch.kernels.fused.cuda_chain.tile import ChainTile
from kswatch.kernels.fused.host_emulator import emulator as host
from kswatch.kernels.implementation import OUTPUT_DTYPES, STORAGE_DTYPES

PLAIN_SHARED_BYTES = 48 * 1024


class Gpu:
    """The part of `pycuda.driver` that is used here, and torch's current stream."""

    Error = RuntimeError
    function_attribute = SimpleNamespace(MAX_DYNAMIC_SHARED_SIZE_BYTES=8)

    def __init__(self) -> None:
        self.contexts = 0
        self.tiles = {}
        self.log = []
        self.stream = SimpleNamespace(
            cuda_stream=0,
            wait_stream=lambda other: self.log.append("torch waits"),
            synchronize=lambda: None,
        )

    def compile(self, tile, architecture):
        code = repr((tile, architecture)).encode()
        self.tiles[code] = tile
        return Cubin(code, hashlib.sha256(code).hexdigest(), "none", PtxasReport(99, 0, 0, tile.shared_bytes))

    def Device(self, index):
        return SimpleNamespace(retain_primary_context=lambda: SimpleNamespace(push=self.push, pop=self.pop))

    def push(self):
        self.contexts += 1

    def pop(self):
        self.contexts -= 1

    def module_from_buffer(self, code):
        assert self.contexts == 1
        return SimpleNamespace(get_function=lambda name: Function(self, self.tiles[code], name))

    def Stream(self, flags):
        assert self.contexts == 1
        return SimpleNamespace(handle=4096 + flags)

    def external(self, handle, device):
        return SimpleNamespace(
            cuda_stream=handle, wait_stream=lambda other: self.log.append("side stream waits")
        )


class Function:
    def __init__(self, gpu, tile, name):
        self.gpu, self.tile, self.shared_bytes = gpu, tile, PLAIN_SHARED_BYTES
        self.second_pass = {"ks_product": False, "ks_sum_parts": True, "ks_chain": False}[name]

    def set_attribute(self, attribute, value):
        assert attribute == 8
        self.shared_bytes = value

    def _launch_kernel(self, grid, block, packed, shared_size, stream):
        assert shared_size <= self.shared_bytes, "CUDA_ERROR_INVALID_VALUE"
        assert block == (SUM_THREADS if self.second_pass else self.tile.threads, 1, 1)
        assert grid[1:] == (1, 1)
        self.gpu.log.append(stream.handle if stream else None)
        shape = (grid[0], block[0], shared_size)
        arrays = self.chain_arrays(packed) if isinstance(self.tile, ChainTile) else self.arrays(packed)
        host.execute(host.build(self.tile), packed, shape, arrays, 1, second_pass=self.second_pass)

    def chain_arrays(self, packed):
        """Of both factors: X and weights of the first, weights, bias and Y of the second."""
        one, size = struct.calcsize(FORMAT), STORAGE_DTYPES[self.tile.precision].itemsize
        assert len(packed) == 2 * one + 16
        found = {}
        for tile, first in ((self.tile.first, 0), (self.tile.second, one)):
            x, w, bias, y, batch, a, b, c, d, *_ = struct.unpack(FORMAT, packed[first : first + one])
            found |= {x: size * batch * a * c * d, w: weight_bytes(tile, a, b, c, d)}
            found |= {bias: size * a * b * d, y: size * batch * a * b * d}
        return [Memory(*pair) for pair in found.items() if pair[0]]

    def arrays(self, packed):
        """Global memory that the arguments name, as long as the problem has it."""
        x, w, bias, y, batch, a, b, c, d, parts, _ = struct.unpack(FORMAT, packed)
        tile, size = self.tile, STORAGE_DTYPES[self.tile.precision].itemsize
        y_size = OUTPUT_DTYPES[self.tile.precision].itemsize
        scale_bytes = 4 * a * b * d if tile.precision == "fp8" else 0
        sums = 4 * parts * batch * a * b * d
        bytes_ = {
            x: size * batch * a * c * d,
            w: weight_bytes(tile, a, b, c, d) + scale_bytes,
            bias: y_size * a * b * d,
        }
        if self.second_pass:
            bytes_[x] = sums
        y_bytes = sums if parts > 1 and not self.second_pass else y_size * batch * a * b * d
        return [Memory(*pair) for pair in (*bytes_.items(), (y, y_bytes)) if pair[0]]


def weight_bytes(tile, a, b, c, d):
    """Bytes of laid-out weights of this pattern."""
    pieces = a * -(-d // tile.neighbours) * -(-b // tile.rows) * -(-c // tile.depth)
    return STORAGE_DTYPES[tile.precision].itemsize * pieces * tile.weight_elements


class Memory:
    def __init__(self, address, nbytes):
        self.address, self.nbytes = address, nbytes

    def data_ptr(self):
        return self.address


@pytest.fixture
def gpu(monkeypatch, host_compiler):
    gpu = Gpu()
    monkeypatch.setattr(driver, "pycuda_driver", lambda: gpu)
    monkeypatch.setattr(driver, "gpu_properties", lambda device: GpuProperties(90, 132))
    monkeypatch.setattr(driver, "_streams", {0: None})
    monkeypatch.setattr(compiler, "cubin", gpu.compile)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(driver, "current_device", lambda: 0)
    monkeypatch.setattr(driver, "empty_on_device", torch._C._dynamo.guards._empty_strided_cpu)
    monkeypatch.setattr(driver, "current_stream_handle", lambda index: gpu.stream.cuda_stream)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: gpu.stream)
    monkeypatch.setattr(torch.cuda, "ExternalStream", gpu.external)
    monkeypatch.setattr(launch, "with_index", lambda device: device)
    monkeypatch.setattr(trust_record, "untrusted_reason", lambda device, tile: "never checked")
    yield gpu
    for cached in (driver.load, driver._retained, driver._side_stream, launch._choose_tile):
        cached.cache_clear()
    assert gpu.contexts == 0, "a context that is left on PyCUDA's stack aborts the process at exit"

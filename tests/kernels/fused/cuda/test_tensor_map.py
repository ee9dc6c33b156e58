"""The memory layouts of wgmma and TMA, compiled for the host, against a simple model of the manual.

The model follows the PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout": canonical
layouts with the 128-byte swizzle, in which a descriptor's strides give the address that is read; and the
swizzle of a tensor map, which gives the address that TMA writes. Both must be the same byte.
"""

from __future__ import annotations

import ctypes
import itertools
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kswatch.kernels.fused.artifacts.host_compiler import find_compiler
from kswatch.kernels.fused.cuda import tensor_map
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER as CUDA_SOURCES
from kswatch.kernels.fused.cuda.tile_candidates import persistent_tiles, warpgroup_tiles
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Problem

UNIT = """
#include "hopper_maps.cuh"
using namespace ks::hopper;
extern "C" {
uint64_t descriptor_(uint32_t a, uint32_t l, uint32_t s) { return descriptor(a, l, s); }
uint32_t next_depth_bytes_(int along_rows) { return next_depth_bytes(along_rows); }
int sum_row_(int t, int u) { return sum_row(t, u); }
int sum_column_(int t, int u) { return sum_column(t, u); }
uint32_t box_offset_(int row, uint32_t byte) { return box_offset(row, byte); }
}
"""
BASE = 4096
"""The address of a tile; its atoms begin at multiples of 1,024."""
ROWS = 128


def maps(folder: Path, mutate=lambda text: text) -> SimpleNamespace:
    """The functions of hopper_maps.cuh, built from a copy of it."""
    folder.mkdir()
    (folder / "hopper_maps.cuh").write_text(mutate((CUDA_SOURCES / "hopper_maps.cuh").read_text()))
    (folder / "unit.cpp").write_text(UNIT)
    command = [find_compiler(), "-std=c++17", "-O0", "-fPIC", "-shared", "unit.cpp", "-o", "unit.so"]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "unit.so"))
    library.descriptor_.restype = ctypes.c_uint64
    names = ("descriptor", "next_depth_bytes", "sum_row", "sum_column", "box_offset")
    return SimpleNamespace(**{name: getattr(library, f"{name}_") for name in names})


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return maps(tmp_path_factory.mktemp("maps") / "source")


def tma_swizzle(row, byte):
    """Tensor map, 128-byte swizzle: 16-byte unit u of row r goes to unit u xor (r mod 8)."""
    return row * 128 + (byte // 16 ^ row % 8) * 16 + byte % 16


def absolute_swizzle(address):
    """The same of an address: its bits 4 to 6 by its bits 7 to 9."""
    return address ^ (address >> 7 & 7) << 4


def read(memory, descriptor, mn, k, along_batch):
    """The element (mn, k) that wgmma takes through a descriptor, per the canonical layouts."""
    size = memory.itemsize
    start = (descriptor & 0x3FFF) << 4
    leading, stride = (descriptor >> 16 & 0x3FFF) << 4, (descriptor >> 32 & 0x3FFF) << 4
    assert descriptor >> 62 == 1, "the 128-byte swizzle"
    assert descriptor >> 49 & 7 == 0, "no base offset: atoms are aligned"
    if along_batch:  # ((8,8,m),(8,k)):((1,8,LBO),(64,SBO)), in 16-bit elements
        assert size == 2, "tf32 has no such layout"
        offset = 2 * (mn % 64) + mn // 64 * leading + k % 8 * 128 + k // 8 * stride
    else:  # ((8,m),(T,2)):((8T,SBO),(1,T)), T elements in 16 bytes
        offset = mn % 8 * 128 + mn // 8 * stride + size * k
    return memory[absolute_swizzle(start + offset) // size]


NUMBERS = {"fp16": np.int16, "tf32": np.int32}
STORED = {"fp16": (torch.int16, torch.float16), "tf32": (torch.int32, torch.float32)}


def weights_are_read_right(source, precision="fp16"):
    depth, columns = (64, 16) if precision == "fp16" else (32, 8)
    problem = Problem(Pattern(1, ROWS, depth, 1), 256, precision, "batch_first")
    integers, floats = STORED[precision]
    numbers = torch.arange(ROWS * depth, dtype=integers)
    numbers = numbers << 13 if precision == "tf32" else numbers  # so that rounding changes nothing
    tile = warpgroup_tiles(replace(problem, pattern=Pattern(1, ROWS, 1024, 1)), GpuProperties(90))[-1]
    assert tile.rows == ROWS
    laid_out = lay_out(numbers.view(floats).reshape(1, ROWS, depth, 1), tile).view(integers).numpy()
    memory = np.zeros(65536, NUMBERS[precision])
    memory[BASE // memory.itemsize :][: laid_out.size] = laid_out
    rows = (0, 1, 7, 8, 13, 63)
    for group, l0, m, k in itertools.product((0, 64), range(0, depth, columns), rows, range(columns)):
        start = BASE + group * 128 + l0 // columns * source.next_depth_bytes(True)
        found = read(memory, source.descriptor(start, 16, 1024), m, k, along_batch=False)
        if found != numbers[(group + m) * depth + l0 + k]:
            return False
    return True


def x_is_read_right(source, layout, precision="fp16", batch=128):
    """Whether the kernel's descriptors address the elements of X, [l][n] or [n][l], that TMA writes."""
    last = layout == "batch_last"
    memory = np.zeros(65536, NUMBERS[precision])
    size, depth = memory.itemsize, 128 // memory.itemsize
    span, columns = depth, depth // 4
    rows, length = (depth, batch) if last else (batch, depth)
    for row, column in itertools.product(range(rows), range(length)):
        chunk = column // span * rows * 128
        memory[(BASE + chunk + tma_swizzle(row, column % span * size)) // size] = row * length + column
    entries = [n for n in (0, 1, 8, 63, 64, 71, 127, 128, 200, 255) if n < batch]
    for l0, n, k in itertools.product(range(0, depth, columns), entries, range(columns)):
        start = BASE + l0 // columns * source.next_depth_bytes(not last)
        found = read(memory, source.descriptor(start, depth * 128, 1024), n, k, along_batch=last)
        if found != ((l0 + k) * batch + n if last else n * depth + l0 + k):
            return False
    return True


@pytest.mark.parametrize("precision", NUMBERS)
def test_the_descriptors_match_the_layout_of_the_weights(source, precision):
    assert weights_are_read_right(source, precision)


@pytest.mark.parametrize("batch", [128, 192, 256])
@pytest.mark.parametrize(
    ("precision", "layout"), [("fp16", "batch_last"), ("fp16", "batch_first"), ("tf32", "batch_first")]
)
def test_the_descriptors_match_the_layout_of_x_written_by_tma(source, precision, layout, batch):
    assert x_is_read_right(source, layout, precision, batch)


def test_a_descriptor_has_the_fields_of_the_manual(source):
    assert source.descriptor(0x12340, 0x2000, 0x400) == 0x1234 | 0x200 << 16 | 0x40 << 32 | 1 << 62


def test_a_thread_holds_the_sums_given_in_the_manual(source):
    """D of m64nN: warp w has rows 16w.., lane 4g + t rows g and g + 8, columns 2t, 2t + 1 of every eight."""
    for thread, u in itertools.product(range(256), range(128)):
        warp, lane = thread // 32 % 4, thread % 32
        expected = (16 * warp + lane // 4 + (8 if u % 4 >= 2 else 0), u // 4 * 8 + lane % 4 * 2 + u % 2)
        assert (source.sum_row(thread, u), source.sum_column(thread, u)) == expected
    owners = {(source.sum_row(t, u), source.sum_column(t, u)) for t in range(128) for u in range(128)}
    assert len(owners) == 64 * 256


def test_y_is_written_where_tma_reads_it(source):
    """Rows of 128 bytes, in every layout and precision; the accesses of a warp are in different banks."""
    for row, byte in itertools.product(range(192), range(0, 128, 2)):
        assert source.box_offset(row, byte) == tma_swizzle(row, byte)
    lanes = range(32)
    pairs = [source.box_offset(lane // 4, lane % 4 * 4 + 16) for lane in lanes]  # 16 bits, batch_last
    words = [source.box_offset(lane % 4 * 2, lane // 4 * 4 + 32) for lane in lanes]  # tf32: [n][m]
    assert len({offset // 4 % 32 for offset in pairs}) == len({offset // 4 % 32 for offset in words}) == 32
    columns = [source.box_offset(row, 48) for row in range(8)]  # stmatrix: eight rows of 16 bytes
    assert len({offset // 16 % 8 for offset in columns}) == 8


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_map_of_y_addresses_every_element_that_is_stored(layout):
    problem = Problem(Pattern(2, 64, 72, 1 if layout == "batch_first" else 3), 80, "fp16", layout)
    (tile,) = persistent_tiles(problem, GpuProperties(90, 132))
    extents, stride_bytes, box = tensor_map.output_fields(problem, tile)
    y = torch.arange(torch.Size(problem.output_shape).numel()).view(problem.output_shape)
    seen = torch.as_strided(y, extents[::-1], (*(stride // 2 for stride in stride_bytes[::-1]), 1))
    a, b, _, d = problem.pattern.as_tuple()
    assert torch.equal(seen, y.view(a, b, d, 80) if layout == "batch_last" else y.view(80, a, 1, b))
    assert box[0] * 2 == 128
    assert box[1:] == ((1, 64, 1) if layout == "batch_last" else (1, 1, 192))


def test_maps_are_encoded_at_multiples_of_128_bytes(monkeypatch):
    """The alignment of CUtensorMap, where the encoder writes it and among the kernel's parameters."""
    written = []

    def encode(target, data_type, rank, address, *fields):
        written.append((target % 128, data_type, address.value))
        return 0

    monkeypatch.setattr(tensor_map, "_encoder", lambda: encode)
    problem = Problem(Pattern(1, 256, 256, 1), 256, "tf32", "batch_first")
    for _ in range(20):
        (tile,) = persistent_tiles(problem, GpuProperties(90, 132))
        assert len(tensor_map.encode(problem, tile, 4096)) == 128
        assert len(tensor_map.encode_output(problem, tile, 8192)) == 128
    assert set(written) == {(0, 11, 4096), (0, 7, 8192)}  # X is rounded to tf32, Y is not
    assert "struct alignas(128) TensorMap" in (CUDA_SOURCES / "hopper_device.cuh").read_text()


@pytest.mark.parametrize(
    ("text", "planted"),
    [
        ("{1} << 62", "{2} << 62"),
        ("(stride_bytes & 0x3ffff) >> 4} << 32", "(stride_bytes & 0x3ffff) >> 4} << 30"),
        ("(leading_bytes & 0x3ffff) >> 4} << 16", "(stride_bytes & 0x3ffff) >> 4} << 16"),
        ("? DEPTH_BYTES : DEPTH_BYTES / 2 * SPAN_BYTES", "? DEPTH_BYTES / 2 * SPAN_BYTES : DEPTH_BYTES"),
    ],
)
def test_a_planted_error_in_a_map_is_detected(tmp_path, text, planted):
    def mutate(content):
        assert content.count(text) == 1
        return content.replace(text, planted)

    mutant = maps(tmp_path / "mutant", mutate)
    try:
        fine = weights_are_read_right(mutant) and all(x_is_read_right(mutant, layout) for layout in LAYOUTS)
    except (AssertionError, IndexError):
        fine = False
    assert not fine

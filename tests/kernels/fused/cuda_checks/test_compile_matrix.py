"""The real nvcc on the real source, per architecture: it compiles, and no register spills."""

from __future__ import annotations

import itertools

import pytest

from kswatch.kernels.fused.cuda import nvcc
from kswatch.kernels.fused.cuda.compile import cubin
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile_candidates import choose
from kswatch.kernels.fused.cuda_checks.all_tiles import spilling
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, PRECISIONS, Problem

pytestmark = pytest.mark.skipif(
    nvcc.find_nvcc() is None, reason="no nvcc: pip install 'kswatch[static]', or a CUDA toolkit"
)

ARCHITECTURES = (86, 89, 100, 120)
"""Those whose tiles `test_all_tiles.py` does not compile, all that can be chosen, without spills."""
PATTERNS = [(6, 64, 64, 1), (1, 128, 128, 3), (1, 192, 48, 2), (2, 384, 384, 16), (4, 48, 192, 64)]
BATCHES = (1, 64, 25_088)


def chosen_tiles(architecture, patterns, batches):
    """The distinct tiles of these problems on an architecture."""
    kinds = itertools.product(patterns, batches, PRECISIONS, LAYOUTS)
    problems = (
        Problem(Pattern(*pattern), batch, precision, layout) for pattern, batch, precision, layout in kinds
    )
    gpu = GpuProperties(architecture)
    return sorted({choose(problem, gpu) for problem in problems if gpu.supports(problem)}, key=repr)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_tiles_of_many_problems_compile_without_spills(architecture):
    tiles = chosen_tiles(architecture, PATTERNS, BATCHES)
    assert [(tile.name, used) for tile, used in spilling(tiles, architecture)] == []


def test_compilation_is_reproducible(tmp_path, monkeypatch):
    tile = chosen_tiles(90, PATTERNS[:1], [64])[0]
    first = cubin(tile, 90)
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path))
    cubin.cache_clear()
    assert cubin(tile, 90).sha256 == first.sha256


def test_pycuda_and_nvcc_compile_to_the_same_bytes():
    pytest.importorskip("pycuda.driver", reason="no PyCUDA with a driver", exc_type=ImportError)
    source = chosen_tiles(90, PATTERNS[:1], [64])[0].source
    found = nvcc.find_nvcc()
    assert (
        nvcc.compile_by_pycuda(source, "sm_90", found)[0] == nvcc.compile_by_nvcc(source, "sm_90", found)[0]
    )

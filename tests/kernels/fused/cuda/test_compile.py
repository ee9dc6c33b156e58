"""The cache of compiled kernels, with a stand-in for nvcc: no CUDA toolkit is needed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda import nvcc
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.tile_candidates import choose
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

TILE = choose(Problem(Pattern(1, 64, 64, 1), 1024, "fp16", "batch_last"), GpuProperties(90))

NVCC = """#!/bin/sh
if [ "$1" = --version ]; then echo "Build {version}"; exit 0; fi
echo run >> {folder}/runs
{body}
echo "ptxas info    : 16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads"
echo "ptxas info    : Used 99 registers, used 1 barriers"
echo machine code > kernel.cubin
"""


class Toolkit:
    """A CUDA_HOME whose nvcc is a script that counts its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.install()

    def install(self, version: str = "13.0", body: str = "") -> None:
        path = self.folder / "bin" / "nvcc"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(NVCC.format(version=version, folder=self.folder, body=body))
        path.chmod(0o755)
        forget()

    def remove(self) -> None:
        (self.folder / "bin" / "nvcc").unlink()
        forget()

    @property
    def runs(self) -> int:
        path = self.folder / "runs"
        return len(path.read_text().splitlines()) if path.exists() else 0


def forget() -> None:
    """What a new process would not know."""
    compiler.cubin.cache_clear()
    nvcc.nvcc_version.cache_clear()


@pytest.fixture
def toolkit(monkeypatch, tmp_path):
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setattr(nvcc, "DEFAULT_FOLDER", str(tmp_path / "nowhere"))
    monkeypatch.setattr(nvcc, "wheel_folders", tuple)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nvcc, "has_pycuda", lambda: False)
    yield Toolkit(tmp_path / "cuda")
    forget()


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("cubin-*.cubin"))


def test_a_tile_is_compiled_once_and_then_read_from_the_cache(toolkit):
    first = compiler.cubin(TILE, 90)
    forget()
    assert compiler.cubin(TILE, 90) == first
    assert first.code == b"machine code\n"
    assert toolkit.runs == 1


def test_the_sidecar_holds_the_ptxas_report(toolkit, tmp_path):
    resources = compiler.cubin(TILE, 90).resources
    assert (resources.registers, resources.spill_bytes, resources.stack_bytes) == (99, 12, 16)
    assert resources.shared_bytes == TILE.shared_bytes
    sidecar = json.loads(entries(tmp_path)[0].with_suffix(".json").read_text())
    assert sidecar["architecture"] == "sm_90"
    assert sidecar["nvcc"] == "13.0"


def test_architecture_tile_and_compiler_determine_the_entry(toolkit, tmp_path):
    compiler.cubin(TILE, 90)
    compiler.cubin(TILE, 80)
    compiler.cubin(replace(TILE, vector_bytes=2), 90)
    toolkit.install(version="13.1")
    compiler.cubin(TILE, 90)
    assert len(entries(tmp_path)) == 4


def test_a_warm_cache_needs_no_nvcc(toolkit):
    warm = compiler.cubin(TILE, 90)
    toolkit.remove()
    assert compiler.cubin(TILE, 90) == warm


def test_a_foreign_cubin_is_used_beside_another_nvcc_on_request(toolkit, monkeypatch):
    carried = compiler.cubin(TILE, 90)
    toolkit.install(version="13.1")
    forget()
    monkeypatch.setenv("KSWATCH_CUBINS", "any")
    assert compiler.cubin(TILE, 90) == carried
    assert toolkit.runs == 1


def test_threads_do_not_mix_up_the_warnings_of_pycuda(toolkit, monkeypatch):
    """Python's warnings are caught for the whole process: PyCUDA compiles in the main thread alone."""
    monkeypatch.setattr(nvcc, "has_pycuda", lambda: True)
    monkeypatch.setattr(
        nvcc, "compile_by_pycuda", lambda *arguments: pytest.fail("PyCUDA was called in a thread")
    )
    with ThreadPoolExecutor(2) as pool:
        assert pool.submit(compiler.cubin, TILE, 90).result().code == b"machine code\n"


def test_a_cold_cache_without_nvcc_names_the_cure(toolkit):
    toolkit.remove()
    with pytest.raises(UnsupportedError, match="no nvcc .* sm_90.* CUDA_HOME"):
        compiler.cubin(TILE, 90)


@pytest.mark.parametrize("damaged", [".cubin", ".json"])
def test_a_damaged_entry_is_compiled_again(toolkit, tmp_path, damaged):
    whole = compiler.cubin(TILE, 90)
    entries(tmp_path)[0].with_suffix(damaged).write_bytes(b"{")
    forget()
    assert compiler.cubin(TILE, 90) == whole
    assert toolkit.runs == 2


def test_a_compiler_that_fails_is_quoted(toolkit):
    toolkit.install(body="echo 'nvcc fatal   : Value sm_90 is not defined' >&2; exit 1")
    with pytest.raises(UnsupportedError, match="Value sm_90 is not defined"):
        compiler.cubin(TILE, 90)


def test_an_unwritable_cache_is_an_error_with_the_cure(toolkit, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UnsupportedError, match="KSWATCH_CACHE"):
        compiler.cubin(TILE, 90)


def test_no_partial_file_is_left(toolkit, tmp_path):
    compiler.cubin(TILE, 90)
    names = [path.suffix for path in (tmp_path / "cache").iterdir()]
    assert sorted(names) == [".cubin", ".json"]

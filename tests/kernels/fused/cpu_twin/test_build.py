"""Building and keeping the CPU twin: caches, broken files, missing compilers, other processors."""

import ctypes
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts import host_compiler
from kswatch.kernels.fused.cpu_twin import build as twin_build
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Layout, Precision, Problem
from kswatch.kernels.reference import make_operands

ROOT = Path(__file__).parents[4]
QUICK = tuple("-O0" if flag == "-O3" else flag for flag in twin_build.FLAGS)

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, host_compiler.COMPILERS)), reason="no C++ compiler on the PATH"
)


@pytest.fixture
def quick_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder, and builds that do not optimise."""
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path))
    monkeypatch.setattr(twin_build, "FLAGS", QUICK)
    return tmp_path


@pytest.fixture(scope="module")
def quick_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole library, built once, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSWATCH_CACHE", str(tmp_path_factory.mktemp("built")))
        patch.setattr(twin_build, "FLAGS", QUICK)
        return twin_build.library()[0]


@pytest.fixture
def unloaded():
    """Forgets the loaded twin before the test and after it."""
    twin.load.cache_clear()
    yield
    twin.load.cache_clear()


@needs_compiler
def test_a_second_call_takes_the_library_from_the_cache(quick_cache: Path, quick_library: Path, monkeypatch):
    monkeypatch.setenv("KSWATCH_CACHE", str(quick_library.parent))
    built_at = quick_library.stat().st_mtime_ns

    assert twin_build.library() == (quick_library, twin_build.digest_of(quick_library))
    assert quick_library.stat().st_mtime_ns == built_at
    assert [quick_library] == list(quick_library.parent.iterdir())


@needs_compiler
@pytest.mark.parametrize(
    "damage",
    [
        "a flipped byte",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("a lost end", "an empty file")),
    ],
)
def test_a_damaged_library_is_built_again(quick_cache: Path, quick_library: Path, damage: str):
    path = shutil.copy(quick_library, quick_cache / quick_library.name)
    digest, content = twin_build.digest_of(path), path.read_bytes()
    flipped = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
    path.write_bytes({"a flipped byte": flipped, "a lost end": content[:-9], "an empty file": b""}[damage])

    assert twin_build.digest_of(path) is None
    assert twin_build.library() == (path, digest)
    assert path.read_bytes() == content
    assert ctypes.CDLL(str(path)).kswatch_twin_open


@pytest.mark.slow
@needs_compiler
def test_two_concurrent_builds_both_give_a_complete_library(quick_cache: Path):
    program = f"""
from kswatch.kernels.fused.cpu_twin import build as twin_build
import ctypes
twin_build.FLAGS = {QUICK!r}
path, digest = twin_build.library()
assert ctypes.CDLL(str(path)).kswatch_twin_open
print(digest)
"""
    command = [sys.executable, "-c", program]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = [process.communicate(timeout=120)[0].strip() for process in both]

    assert [process.returncode for process in both] == [0, 0]
    (path,) = quick_cache.iterdir()
    assert twin_build.digest_of(path) in digests


@needs_compiler
def test_flags_compiler_and_processor_determine_the_key(monkeypatch: pytest.MonkeyPatch):
    compiler = host_compiler.find_compiler()
    key = twin_build.cache_key(compiler)
    with monkeypatch.context() as patch:
        patch.setattr(twin_build, "FLAGS", QUICK)
        other_flags = twin_build.cache_key(compiler)
    with monkeypatch.context() as patch:
        patch.setattr(twin_build, "processor", lambda: "model name: another")
        other_processor = twin_build.cache_key(compiler)
    with monkeypatch.context() as patch:
        patch.setattr(twin_build, "run_compiler", lambda command: "g++ 99")
        other_compiler = twin_build.cache_key(compiler)

    assert len({key, other_flags, other_processor, other_compiler}) == 4


def test_without_a_compiler_the_reason_names_the_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unloaded: None
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)

    reason = twin.unsupported(Problem(Pattern(1, 2, 2, 1), 1, "fp32", "batch_first"))

    assert reason is not None
    assert "install g++" in reason
    with pytest.raises(UnsupportedError, match="install g"):
        twin.prepare(Problem(Pattern(1, 2, 2, 1), 1, "fp32", "batch_first"), torch.zeros(1, 2, 2, 1))


def test_a_failing_compiler_is_named_with_its_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unloaded: None
):
    failing = tmp_path / "failing-c++"
    failing.write_text('#!/bin/sh\necho "failing-c++: error: no such flag" >&2\nexit 1\n')
    failing.chmod(0o755)
    monkeypatch.setenv("CXX", str(failing))

    reason = twin.unsupported(Problem(Pattern(1, 2, 2, 1), 1, "fp32", "batch_first"))

    assert reason is not None
    assert "error: no such flag" in reason
    assert "CXX" in reason


@needs_compiler
def test_an_unwritable_cache_folder_is_named_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, quick_cache: Path
):
    (quick_cache / "file").touch()
    monkeypatch.setenv("KSWATCH_CACHE", str(quick_cache / "file" / "folder"))

    with pytest.raises(UnsupportedError, match="set KSWATCH_CACHE"):
        twin_build.library()


def test_flags_that_a_compiler_does_not_have_are_left_out(tmp_path: Path):
    compiler = tmp_path / "other-c++"
    refusal = 'case "$*" in *-Werror*-fno-ivopts*) echo "error: unknown option" >&2; exit 1;; esac'
    compiler.write_text(f"#!/bin/sh\n{refusal}\n")
    compiler.chmod(0o755)

    assert twin_build.accepted_flags(str(compiler)) == ["-fira-region=one"]


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="instruction sets of x86-64")
@pytest.mark.parametrize("march", ["haswell", pytest.param("x86-64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_narrower_vectors_give_the_same_products(
    march: str,
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    assert_product: Callable[..., None],
    unloaded: None,
):
    if march == "haswell" and " avx2 " not in twin_build.processor():
        pytest.skip("this processor has no AVX2")
    # One folder for both layouts, so that each instruction set is built once.
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path_factory.getbasetemp() / march))
    monkeypatch.setattr(twin_build, "FLAGS", tuple(f.replace("native", march) for f in QUICK))
    precisions: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
    for precision in precisions:
        for pattern, batch in (((2, 9, 5, 15), 21), ((1, 30, 7, 1), 13)):
            problem = Problem(Pattern(*pattern), batch, precision, layout)
            weights, x = make_operands(problem, "cpu", seed=1)
            assert_product(twin.prepare(problem, weights)(x), weights, x, layout)
        problem = Problem(Pattern(1, 40, 1, 1), 50, precision, layout)
        weights, x = make_operands(problem, "cpu", seed=2)
        exact = torch.outer(weights.float().flatten(), x.float().flatten()).to(x.dtype)
        y = twin.prepare(problem, weights)(x)
        assert torch.equal(y if layout == "batch_last" else y.t(), exact)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_torch_and_the_twin_share_one_openmp_runtime():
    # Threads of two runtimes would spin against each other. A process of its own: another test may
    # have loaded a package that brings another runtime.
    program = """
from pathlib import Path
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.problem import Problem
from kswatch.kernels.pattern import Pattern
import torch
problem = Problem(Pattern(1, 64, 64, 1), 256, "fp32", "batch_first")
reason = twin.unsupported(problem)
if reason is None:
    twin.prepare(problem, torch.zeros(1, 64, 64, 1))(torch.zeros(256, 64))
lines = Path("/proc/self/maps").read_text().splitlines()
print("\\n".join({line.split()[-1] for line in lines if "libgomp" in line}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert len(done.stdout.split()) == 1

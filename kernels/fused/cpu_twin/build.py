"""Builds the CPU twin once with the system compiler and keeps it in a cache folder.

The twin is built for the current processor instead of dispatching at run time: the cache holds one
library per processor. Each library ends with the sha256 of all bytes before it (an ELF loader ignores the
end of the file), so a damaged or partial file is recognised without a second file.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from importlib.util import find_spec
from pathlib import Path

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.artifacts.host_compiler import find_compiler, run_compiler
from kswatch.kernels.fused.artifacts.sources import source_files

FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fopenmp",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-fPIC",
    "-shared",
)
REGISTER_FLAGS = ("-fira-region=one", "-fno-ivopts")
"""Flags for compilers that accept them: without these, g++ keeps two of the three vectors of a step of its
largest tile in memory instead of registers, and moves addresses between both kinds of registers."""
DIGEST_BYTES = 32
SOURCE_FOLDER = Path(__file__).parent / "source"


def library() -> tuple[Path, str]:
    """The built twin and the sha256 of its machine code; compiled unless the cache holds a complete copy.

    Raises:
        UnsupportedError: no compiler, a compiler that fails, or a cache folder that cannot be written.
    """
    compiler = find_compiler()
    path = cache_folder() / f"twin-{cache_key(compiler)}.so"
    digest = digest_of(path)
    if digest is not None:
        return path, digest
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path, build(compiler, path)
    except OSError as error:
        raise UnsupportedError(
            f"cannot write the built CPU twin to {path.parent} ({error.strerror}); "
            "set KSWATCH_CACHE to a writable folder"
        ) from error


def sources() -> list[Path]:
    """The translation unit, then the headers that it includes."""
    return [SOURCE_FOLDER / "twin.cpp", *source_files(SOURCE_FOLDER, "twin_*.hpp")]


def cache_key(compiler: str) -> str:
    """sha256 over everything that determines the machine code: sources, flags, compiler, processor."""
    parts = [path.read_bytes() for path in sources()]
    parts += [
        repr((FLAGS, REGISTER_FLAGS, openmp_runtime())).encode(),
        run_compiler([compiler, "--version"]).encode(),
    ]
    parts.append(processor().encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def processor() -> str:
    """Model and instruction sets of this CPU, the target of `-march=native`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    keys = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(keys)}))


def openmp_runtime() -> list[str]:
    """Linker arguments that bind the twin to the OpenMP runtime of torch.

    Two runtimes would have two pools of threads, which would spin against each other.
    """
    torch = find_spec("torch")  # not imported: finding a file needs no torch
    if torch is None or torch.origin is None:
        return []
    found = sorted((Path(torch.origin).parent / "lib").glob("libgomp*.so*"))
    return ["-Wl,--as-needed", str(found[0])] if found else []


def digest_of(path: Path) -> str | None:
    """sha256 of the machine code of a complete library; None for a missing or damaged one."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    code, trailer = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    digest = hashlib.sha256(code)
    return digest.hexdigest() if code and digest.digest() == trailer else None


def accepted_flags(compiler: str) -> list[str]:
    """Those of `REGISTER_FLAGS` that the compiler has; clang only warns about flags that it does not have."""

    def accepts(flag: str) -> bool:
        try:
            run_compiler([compiler, "-Werror", flag, "-x", "c++", "-fsyntax-only", "/dev/null"])
        except UnsupportedError:
            return False
        return True

    return [flag for flag in REGISTER_FLAGS if accepts(flag)]


def build(compiler: str, path: Path) -> str:
    """Compile to a temporary file and rename it to `path`, so that no other process sees a partial file.

    Raises:
        UnsupportedError: the compiler fails.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="twin-building-") as folder:
        built = Path(folder) / "twin.so"
        flags = (*FLAGS, *accepted_flags(compiler))
        run_compiler([compiler, *flags, "-o", str(built), str(sources()[0]), *openmp_runtime()])
        digest = hashlib.sha256(built.read_bytes())
        with built.open("ab") as file:
            file.write(digest.digest())
        built.replace(path)
    return digest.hexdigest()

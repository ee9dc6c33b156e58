"""Which implementations a change of files affects: no other needs to be measured."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from kswatch.db.records import IMPLEMENTATIONS
from kswatch.declared.implementations import BY_NAME
from kswatch.errors import MeasurementError

_USED_BY_PROFILER = ("kswatch.kernels.reference", "kswatch.kernels.precision", "kswatch.kernels.problem")
"""Modules of a revision that the profiler itself imports: the float64 truth, and how a problem is set up."""
_FUSED = "kswatch.kernels.fused.implementation"
_IGNORED = (".md", ".txt")
_GPU_SOURCES = (".cu", ".cuh")


def affected_implementations(
    changed: Iterable[str], folders: Sequence[Path], device_kind: str
) -> tuple[str, ...]:
    """The implementations that depend on a changed file in any of the revisions, in catalogue order.

    Args:
        changed: Paths relative to the repository, below `kernels/`.
        folders: The revisions, each a folder that holds `kernels/`.
        device_kind: `cpu` or `cuda`: CUDA sources affect nothing on a CPU.

    Raises:
        MeasurementError: a module that every revision must have is in none of them.
    """
    for module in (_FUSED, *_USED_BY_PROFILER):
        if not any(_file_of(folder, module) for folder in folders):
            raise MeasurementError(f"no revision has the module {module}; choose newer revisions")
    ignored = _IGNORED + (_GPU_SOURCES if device_kind == "cpu" else ())
    paths = {path for path in changed if not path.endswith(ignored)}
    imports = cache(lambda file: tuple(_imports(file)))  # most files are imported by several implementations
    affected: set[str] = set()
    for folder in folders:
        affected |= {
            name for name in IMPLEMENTATIONS if not paths.isdisjoint(_dependencies(folder, name, imports))
        }
    return tuple(name for name in IMPLEMENTATIONS if name in affected)


def _dependencies(
    folder: Path, implementation: str, imports: Callable[[Path], tuple[str, ...]]
) -> Iterator[str]:
    """Every file that the implementation imports, directly or not, and the data files of those packages."""
    root = f"kswatch.kernels.{BY_NAME[implementation].source.partition(':')[0]}"
    waiting, seen = [root, *_USED_BY_PROFILER], set[Path]()
    while waiting:
        for file in _files_of(folder, waiting.pop()):
            if file not in seen:
                seen.add(file)
                waiting += imports(file)
    own = _file_of(folder, root)
    data = [path for path in own.parent.rglob("*") if path.suffix != ".py"] if own else []
    for path in (*seen, *(path for path in data if _package_of(path) in seen)):
        yield str(PurePosixPath(path.relative_to(folder)))


def _package_of(path: Path) -> Path | None:
    """The `__init__.py` of the innermost package that holds a file."""
    return next((file for up in path.parents if (file := up / "__init__.py").is_file()), None)


def _files_of(folder: Path, module: str) -> list[Path]:
    """The module's file after those of its packages, as far as they exist."""
    names = module.split(".")
    modules = (".".join(names[:count]) for count in range(1, len(names) + 1))
    return [file for name in modules if (file := _file_of(folder, name))]


def _file_of(folder: Path, module: str) -> Path | None:
    """The file of a module of `kswatch.kernels`; None for any other, and where there is no such file."""
    top, *parts = module.split(".")
    if top != "kswatch" or parts[:1] != ["kernels"]:
        return None
    stem = folder.joinpath(*parts)
    return next((file for file in (stem / "__init__.py", stem.with_suffix(".py")) if file.is_file()), None)


def _imports(file: Path) -> Iterator[str]:
    """Modules that a file imports, also inside functions; of a package's own file only at the top level.

    What a package re-exports lazily is not loaded by importing one of its modules.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return  # the child process that imports it reports the error
    nodes: Iterable[ast.AST] = tree.body if file.name == "__init__.py" else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)

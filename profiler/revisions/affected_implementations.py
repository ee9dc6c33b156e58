"""Which files feed which implementation: what a change must touch before measuring can tell anything."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from kswatch.db.records import IMPLEMENTATIONS

_CHECKED_BY = ("kswatch.kernels.reference", "kswatch.kernels.precision", "kswatch.kernels.problem")
"""What the profiler itself takes of a revision: its float64 truth, and how a problem is set up."""
_NEVER = (".md", ".txt")
_ONLY_GPU = (".cu", ".cuh")


def implementations_fed(changed: Iterable[str], folders: Iterable[Path], device_kind: str) -> tuple[str, ...]:
    """The implementations that one of the changed files feeds, in any of the revisions, in catalogue order.

    Args:
        changed: Paths relative to the repository, below `kernels/`.
        folders: The revisions, each a folder that holds `kernels/`.
        device_kind: `cpu` or `cuda`: CUDA sources feed nothing on a CPU.
    """
    left_out = _NEVER + (_ONLY_GPU if device_kind == "cpu" else ())
    paths = {path for path in changed if not path.endswith(left_out)}
    imports = cache(lambda file: tuple(_imports(file)))  # most files feed several implementations
    fed: set[str] = set()
    for folder in folders:
        fed |= {name for name in IMPLEMENTATIONS if not paths.isdisjoint(_feeding(folder, name, imports))}
    return tuple(name for name in IMPLEMENTATIONS if name in fed)


def _feeding(folder: Path, implementation: str, imports: Callable[[Path], tuple[str, ...]]) -> Iterator[str]:
    """Every file that the implementation imports, directly or not, and what lies beside its own module."""
    root = (
        "kswatch.kernels.fused.implementation"
        if implementation == "fused"
        else f"kswatch.kernels.baselines.{implementation}"
    )
    waiting, seen = [root, *_CHECKED_BY], set[Path]()
    while waiting:
        for file in _files_of(folder, waiting.pop()):
            if file not in seen:
                seen.add(file)
                waiting += imports(file)
    own = _files_of(folder, root)[-1:]
    beside = [path for file in own for path in file.parent.rglob("*") if path.suffix != ".py"]
    for path in (*seen, *beside):
        yield str(PurePosixPath(path.relative_to(folder)))


def _files_of(folder: Path, module: str) -> list[Path]:
    """The module's file after those of its packages; without what does not exist or is not of `kernels`."""
    parts = module.split(".")
    if parts[0] != "kernels":
        return []
    files = [folder.joinpath(*parts[:count], "__init__.py") for count in range(1, len(parts) + 1)]
    files.append(folder.joinpath(*parts).with_suffix(".py"))
    return [file for file in files if file.is_file()]


def _imports(file: Path) -> Iterator[str]:
    """Modules that a file imports, also inside functions; of a package's own file only at the top level.

    What a package re-exports lazily is not loaded by importing one of its modules.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return  # the child that imports it will tell
    nodes: Iterable[ast.AST] = tree.body if file.name == "__init__.py" else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)

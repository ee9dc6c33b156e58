"""Imports between modules, read from source: lazy ones, those for types, and module names in strings too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("kernels", "profiler", "db", "ci", "dashboard")
PACKAGE = "kswatch"

_MODULE_NAME = re.compile(rf"{PACKAGE}\.({'|'.join(FOLDERS)})(\.\w+)+")

Edges = dict[str, set[str]]


@dataclass(frozen=True)
class Sources:
    """Source text by module name; packages are the modules that have an `__init__.py`."""

    texts: Mapping[str, str]
    packages: frozenset[str] = field(default_factory=frozenset)

    def package_of(self, module: str) -> str:
        """The node that a module belongs to: its package, or itself at the root of a folder."""
        if module in self.packages or module.count(".") <= 2:
            return module
        return module.rpartition(".")[0]

    def resolve(self, name: str) -> str | None:
        """The module that a dotted name means, which may go on with an attribute; None for foreign names."""
        while name and name not in self.texts:
            name = name.rpartition(".")[0]
        return name or None


def repository_sources() -> Sources:
    """The modules of the five folders and of `kswatch/` itself."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    texts = {module_name(path): path.read_text(encoding="utf-8") for path in paths}
    packages = {module_name(path) for path in paths if path.name == "__init__.py"}
    for path in (*(ROOT / PACKAGE).glob("*.py"), *(ROOT / PACKAGE / "declared").glob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        texts[name] = path.read_text(encoding="utf-8")
    return Sources(texts, frozenset(packages | {PACKAGE, f"{PACKAGE}.declared"}))


def module_name(path: Path) -> str:
    """The name under which a file of one of the five folders is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((PACKAGE, *parts)).removesuffix(".__init__")


def imported_names(text: str) -> Iterator[str]:
    """Dotted names that a source imports, wherever the statement stands, or holds as a string."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and _MODULE_NAME.fullmatch(str(node.value)):
            yield str(node.value)


def module_edges(sources: Sources) -> Edges:
    """Imports between modules. A package's `__init__` imports lazily, and so is no importer here."""
    edges: Edges = {}
    for module, text in sources.texts.items():
        if module in sources.packages:
            continue
        targets = {sources.resolve(name) for name in imported_names(text)}
        edges[module] = {target for target in targets if target and target != module}
    return edges


def package_edges(sources: Sources) -> Edges:
    """The same between packages, and modules at the root of a folder."""
    edges: Edges = {}
    for module, targets in module_edges(sources).items():
        node = sources.package_of(module)
        edges.setdefault(node, set()).update(map(sources.package_of, targets))
    return {node: targets - {node} for node, targets in edges.items()}


def circles(edges: Edges) -> list[list[str]]:
    """Groups of nodes that import each other, by Tarjan's algorithm, each sorted."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in order:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], order[target])
        if lowest[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(edges):
        if node not in order:
            visit(node)
    return found

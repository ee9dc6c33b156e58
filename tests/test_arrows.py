"""The structure of ARCHITECTURE.md: import arrows, no circles, no crowded folder, empty `__init__` files."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.import_graph import (
    FOLDERS,
    PACKAGE,
    ROOT,
    Sources,
    circles,
    imported_names,
    module_edges,
    package_edges,
    repository_sources,
)

ALLOWED = {
    "kernels": set(),
    "db": set(),
    "profiler": {"kernels", "db"},
    "ci": {"db", "kernels"},
    "dashboard": {"db", "kernels"},
}
OPEN_KERNELS = tuple(
    f"kswatch.kernels.{name}" for name in ("pattern", "problem", "heuristics", "families", "layer_heuristics")
)
FLOOR = {"kernels": {"declared", "errors"}}
FLOOR_OF_OTHERS = {"declared", "errors", "services", "logs"}
MOST_MODULES_AT_A_ROOT = 8
MOST_MODULES_IN_A_PACKAGE = 16


@cache
def sources() -> Sources:
    return repository_sources()


def modules_of(folder: str) -> Iterator[str]:
    prefix = f"{PACKAGE}.{folder}"
    return (name for name in sources().texts if name == prefix or name.startswith(f"{prefix}."))


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_module_imports_only_along_the_arrows(folder: str) -> None:
    for module in modules_of(folder):
        for name in imported_names(sources().texts[module]):
            assert_along_the_arrows(folder, module, name)


def assert_along_the_arrows(folder: str, module: str, name: str) -> None:
    top, _, rest = name.partition(".")
    assert top not in FOLDERS, f"{module} imports {name}, which is kswatch.{name}"
    if top != PACKAGE:
        return
    other = rest.split(".")[0]
    if other == folder or other == "" or name == f"{PACKAGE}.__file__":
        return
    if other not in FOLDERS:
        assert other in FLOOR.get(folder, FLOOR_OF_OTHERS), f"{module} imports {name}"
        return
    assert other in ALLOWED[folder], f"{module} imports {name}"
    if other == "kernels" and folder in {"ci", "dashboard"}:
        assert name.startswith(OPEN_KERNELS), f"{module} imports {name}"


def test_a_pattern_a_problem_a_heuristic_and_a_family_import_no_torch() -> None:
    for module, text in sources().texts.items():
        if module.startswith(OPEN_KERNELS):
            assert "torch" not in {name.split(".")[0] for name in imported_names(text)}, module


def test_modules_import_each_other_in_no_circle() -> None:
    assert circles(module_edges(sources())) == []


def test_packages_import_each_other_in_no_circle() -> None:
    assert circles(package_edges(sources())) == []


A, B = "kswatch.ci.first", "kswatch.ci.second"
IMPORTS = {
    "at the top": "from kswatch.ci import first",
    "of a name": "from kswatch.ci.first import thing",
    "as a module": "import kswatch.ci.first",
    "in a function": "def late():\n    from kswatch.ci.first import thing",
    "for types": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from kswatch.ci.first import T",
    "as a string": 'CHILD = ("python", "-m", "kswatch.ci.first")',
}


@pytest.mark.parametrize("kind", IMPORTS)
def test_a_planted_circle_of_modules_is_found(kind: str) -> None:
    planted = Sources({A: "from kswatch.ci.second import thing", B: IMPORTS[kind]}, frozenset({"kswatch.ci"}))
    assert circles(module_edges(planted)) == [[A, B]]
    assert circles(package_edges(planted)) == [[A, B]]  # modules at a folder's root are nodes of their own


def test_a_planted_circle_of_packages_is_found_where_no_module_closes_it() -> None:
    texts = {
        "kswatch.ci.gate.cell": "from kswatch.ci.check import judge",
        "kswatch.ci.gate.report": "",
        "kswatch.ci.check": "from kswatch import ci\nfrom kswatch.ci.gate.report import text",
    }
    planted = Sources(texts, frozenset({"kswatch.ci", "kswatch.ci.gate"}))
    assert circles(module_edges(planted)) == []
    assert circles(package_edges(planted)) == [["kswatch.ci.check", "kswatch.ci.gate"]]


def test_an_import_of_a_folder_from_the_package_is_resolved() -> None:
    planted = Sources(
        {"kswatch.db": "", "kswatch.ci.check": "from kswatch import db"}, frozenset({"kswatch.db"})
    )
    assert module_edges(planted) == {"kswatch.ci.check": {"kswatch.db"}}


def test_no_folder_is_crowded() -> None:
    counted = Counter(path.parent for path in python_files(*FOLDERS, "tests") if path.name != "__init__.py")
    counted[ROOT / PACKAGE] = len([path for path in (ROOT / PACKAGE).glob("*.py") if path.stem != "__init__"])
    roots = {ROOT / folder for folder in (*FOLDERS, PACKAGE, "tests")}
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder, count in counted.items()
        if count > (MOST_MODULES_AT_A_ROOT if folder in roots else MOST_MODULES_IN_A_PACKAGE)
    }
    assert crowded == {}


def test_an_init_file_holds_a_docstring_and_lazy_exports_only() -> None:
    for path in (*python_files(*FOLDERS), ROOT / PACKAGE / "__init__.py"):
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), f"{path} has no docstring"
            assert all(map(is_lazy_export, tree.body[1:])), f"{path} holds more than lazy exports"


def is_lazy_export(node: ast.stmt) -> bool:
    """`__all__`, a table of names, `__getattr__`, or an import that runs no code of ours."""
    if isinstance(node, ast.FunctionDef):
        return node.name in {"__getattr__", "__dir__"}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        ast.literal_eval(node.value)  # type: ignore[arg-type]
        return True
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING" and not node.orelse
    return isinstance(node, ast.Import | ast.ImportFrom) and not any(
        name.startswith(PACKAGE) for name in imported_names(ast.unparse(node))
    )


def test_no_folder_is_a_drawer() -> None:
    drawers = {"util", "utils", "common", "helpers", "misc"}
    assert not [path for path in python_files(*FOLDERS) if {path.stem, path.parent.name} & drawers]

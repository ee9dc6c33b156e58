"""The arrows of ARCHITECTURE.md: who may import whom, also inside functions."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "kernels": set(),
    "db": set(),
    "profiler": {"kernels", "db"},
    "ci": {"db", "kernels"},
    "dashboard": {"db", "kernels"},
}
OPEN_KERNELS = ("kswatch.kernels.pattern", "kswatch.kernels.problem", "kswatch.kernels.heuristics")


@cache
def imported_modules(path: Path) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def files() -> list[Path]:
    return [path for folder in ALLOWED for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_file_imports_only_along_the_arrows(folder: str) -> None:
    for path in files():
        if path.relative_to(ROOT).parts[0] == folder:
            for module in imported_modules(path):
                assert_along_the_arrows(folder, path, module)


def assert_along_the_arrows(folder: str, path: Path, module: str) -> None:
    top = module.split(".")[0]
    if top not in ALLOWED or top == folder:
        assert top != "kswatch", f"{path} imports the command line"
        return
    assert top in ALLOWED[folder], f"{path} imports {module}"
    if top == "kernels" and folder in {"ci", "dashboard"}:
        assert module.startswith(OPEN_KERNELS), f"{path} imports {module}"


def test_a_pattern_a_problem_and_a_heuristic_import_no_torch() -> None:
    paths = [ROOT / "kernels/pattern.py", ROOT / "kernels/problem.py"]
    for path in paths + sorted((ROOT / "kernels/heuristics").rglob("*.py")):
        assert not {name for name in imported_modules(path) if name.split(".")[0] == "torch"}, path


def test_no_folder_is_a_drawer() -> None:
    drawers = {"util", "utils", "common", "helpers", "misc"}
    assert not [path for path in files() if path.stem in drawers or path.parent.name in drawers]

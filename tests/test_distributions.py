"""What gets installed: one top-level name, real files, and no quarrel with other distributions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.import_graph import FOLDERS, ROOT

STAND_IN = "stand_in_for_kernels-1.0-py3-none-any.whl"
IMPORT_ALL = """
import pkgutil, importlib, sys
import kswatch
for found in pkgutil.walk_packages(kswatch.__path__, "kswatch."):
    if not found.name.endswith(("__main__", "dashboard.app", "dashboard.asgi", "migrations.env", "_main")):
        importlib.import_module(found.name)
print(kswatch.__file__)
print(*sorted({name.split(".")[0] for name in sys.modules} & set(sys.argv[1:])))
"""


def run(*command: str | Path, **options) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this work tree as a fresh clone would have them, links included."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    return build_wheel(checkout, checkout / "dist")


@pytest.fixture(scope="module")
def sdist(checkout: Path) -> Path:
    code = "import setuptools.build_meta as backend; print(backend.build_sdist('dist'))"
    return checkout / "dist" / run(sys.executable, "-c", code, cwd=checkout).splitlines()[-1]


def build_wheel(source: Path, folder: Path) -> Path:
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    return next(folder.glob("kswatch-*.whl"))


PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def test_the_wheel_owns_one_top_level_name(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"kswatch"}


def test_the_wheel_holds_every_module_and_every_file_that_is_read_at_run_time(wheel: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    kinds = {".py", ".cu", ".cuh", ".cpp", ".hpp", ".json", ".toml", ".mako"}
    wanted = {
        f"kswatch/{path.relative_to(ROOT)}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds and "__pycache__" not in path.parts
    }
    assert wanted <= shipped, sorted(wanted - shipped)
    assert "kswatch/db/schema/schema.md" in shipped


def test_the_sdist_holds_real_files_and_builds_the_same_wheel(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
        archive.extractall(tmp_path, filter="data")
    rebuilt = build_wheel(next(tmp_path.glob("kswatch-*")), tmp_path / "dist")
    assert set(zipfile.ZipFile(rebuilt).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def stand_in(folder: Path) -> Path:
    """A distribution that owns a top-level package `kernels`, as PyPI's `kernels` does."""
    path = folder / STAND_IN
    info = "stand_in_for_kernels-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kernels/__init__.py", "OWNER = 'stand-in'\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: stand-in-for-kernels\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def environment_with(folder: Path, *distributions: Path | str) -> Path:
    """A new environment's Python with these installed in turn; a path file leads to our dependencies."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    for distribution in distributions:
        run(*PIP, "--python", python, "install", "--no-deps", "--no-build-isolation", distribution)
    installed = next(folder.glob("lib/python*/site-packages"))
    dependencies = Path(pytest.__file__).parents[1]
    (installed / "dependencies.pth").write_text(f"{dependencies}\n")
    return python


@pytest.mark.parametrize("ours_first", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_distribution_that_owns_kernels_and_ours_do_not_overwrite_each_other(
    wheel: Path, tmp_path: Path, ours_first: bool
) -> None:
    other = stand_in(tmp_path)
    order = (wheel, other) if ours_first else (other, wheel)
    python = environment_with(tmp_path / "environment", *order)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    owner = run(python, "-c", "import kernels; print(kernels.OWNER)", cwd=tmp_path, env=environment)
    assert owner == "stand-in\n"
    place, others = run(python, "-c", IMPORT_ALL, *FOLDERS, cwd=tmp_path, env=environment).splitlines()
    assert Path(place).is_relative_to(tmp_path / "environment")
    assert others == "", "our modules are seen under their names in the repository"
    assert "smoke" in run(python, "-m", "kswatch", "profile", "--help", cwd=tmp_path, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("ours_first", [True, False])
def test_the_real_kernels_package_and_ours_do_not_overwrite_each_other(
    wheel: Path, tmp_path: Path, ours_first: bool
) -> None:
    fetched = subprocess.run([*PIP, "download", "--no-deps", "--dest", tmp_path, "kernels"], timeout=280)
    if fetched.returncode:
        pytest.skip("no package index could be reached")
    other = next(tmp_path.glob("kernels-*"))
    python = environment_with(tmp_path / "environment", *((wheel, other) if ours_first else (other, wheel)))
    code = (
        "import importlib.util, kswatch.kernels\n"
        "print(importlib.util.find_spec('kernels').origin)\nprint(kswatch.kernels.__file__)"
    )
    theirs, ours = run(python, "-c", code, cwd=tmp_path).splitlines()
    assert theirs.endswith("site-packages/kernels/__init__.py")
    assert ours.endswith("site-packages/kswatch/kernels/__init__.py")


def test_importing_kswatch_imports_neither_torch_nor_the_command_line() -> None:
    code = "import sys, kswatch; print({'torch', 'typer', 'numpy', 'kswatch.cli'} & set(sys.modules))"
    assert run(sys.executable, "-c", code) == "set()\n"


def test_the_layer_is_imported_from_the_package() -> None:
    code = (
        "from kswatch import KSLinear; from kswatch.kernels import KSLinear as same; print(KSLinear is same)"
    )
    assert run(sys.executable, "-c", code) == "True\n"

"""`kswatch.kernels` of a revision, in a process whose other modules are those of the running kswatch."""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import kswatch
from kswatch.errors import MeasurementError

PACKAGE = "kswatch.kernels"
BEFORE_PACKAGE = (
    "it is from before kernels became part of the package `kswatch`, so this version cannot measure it; "
    "choose a newer revision"
)
_FORMER_IMPORT = re.compile(r"^\s*(?:from\s+kernels[.\w]*\s+import\b|import\s+kernels\b)", re.MULTILINE)
"""How kernels imported each other while they were a top-level package."""


def load_kernels(folder: Path) -> None:
    """Import `kswatch.kernels` from `folder`/kernels; nothing else may have imported that package before.

    Raises:
        MeasurementError: the revision is from before kernels were part of the package `kswatch`, has no such
            package, or the package is already imported.
    """
    if is_before_package(folder):
        raise MeasurementError(BEFORE_PACKAGE)
    if loaded := sorted(_loaded_kernels()):
        raise MeasurementError(f"{', '.join(loaded[:3])} was imported before the kernels of the revision")
    package = folder / "kernels"
    initial = package / "__init__.py"
    spec = spec_from_file_location(PACKAGE, initial, submodule_search_locations=[str(package)])
    if spec is None or spec.loader is None or not initial.is_file():
        raise MeasurementError(f"{package} is not a Python package")
    module = module_from_spec(spec)
    sys.modules[PACKAGE] = module
    kswatch.kernels = module
    spec.loader.exec_module(module)


def is_before_package(folder: Path) -> bool:
    """Whether the kernels in `folder`/kernels import each other as the top-level package `kernels`."""
    return any(
        _FORMER_IMPORT.search(path.read_text(encoding="utf-8", errors="replace"))
        for path in sorted((folder / "kernels").rglob("*.py"))
    )


def require_own_kernels(folder: Path) -> None:
    """Check that every loaded module of the kernels lies below the revision's folder.

    Raises:
        MeasurementError: one of them is of another revision.
    """
    own = (folder / "kernels").resolve()
    for name, file in _loaded_kernels().items():
        if file is None or not Path(file).resolve().is_relative_to(own):
            raise MeasurementError(f"{name} was imported from {file}, not from the revision in {own}")


def _loaded_kernels() -> dict[str, str | None]:
    """Where each imported module of the kernels comes from, by name: its file, or a package's folder."""
    return {
        name: getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
        for name, module in list(sys.modules.items())
        if name == PACKAGE or name.startswith(f"{PACKAGE}.")
    }

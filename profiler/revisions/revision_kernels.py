"""`kswatch.kernels` of a revision, in a process whose every other module is of the kswatch that runs."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import kswatch
from kswatch.errors import MeasurementError

PACKAGE = "kswatch.kernels"


def load_kernels(folder: Path) -> None:
    """Import `kswatch.kernels` from `folder`/kernels; must come before any other import of it.

    Raises:
        MeasurementError: the folder is of a revision from before kernels were part of the package `kswatch`,
            or the package is already imported from elsewhere.
    """
    require_package_layout(folder)
    if loaded := _loaded():
        raise MeasurementError(
            f"{', '.join(sorted(loaded)[:3])} was imported before the revision's own kernels"
        )
    place = folder / "kernels"
    spec = spec_from_file_location(PACKAGE, place / "__init__.py", submodule_search_locations=[str(place)])
    if spec is None or spec.loader is None:
        raise MeasurementError(f"{place} cannot be imported")
    module = module_from_spec(spec)
    sys.modules[PACKAGE] = module
    kswatch.kernels = module
    spec.loader.exec_module(module)


def require_package_layout(folder: Path) -> None:
    """Refuse a revision whose kernels import each other by another name.

    Raises:
        MeasurementError: it is from before the move into one package.
    """
    package = folder / "kernels" / "__init__.py"
    if not package.is_file() or PACKAGE not in package.read_text(encoding="utf-8"):
        raise MeasurementError(
            "the revision is from before kernels became part of the package `kswatch` and cannot be measured "
            "by this version; choose a newer revision"
        )


def require_own_kernels(folder: Path) -> None:
    """Check that every loaded module of `kswatch.kernels` lies below the revision's folder.

    Raises:
        MeasurementError: one of them is of another revision.
    """
    own = (folder / "kernels").resolve()
    for name, file in _loaded().items():
        if file is None or not Path(file).resolve().is_relative_to(own):
            raise MeasurementError(f"{name} was imported from {file}, not from the revision in {own}")


def _loaded() -> dict[str, str | None]:
    """Files of the modules of `kswatch.kernels` that are imported, by name."""
    return {
        name: getattr(module, "__file__", None)
        for name, module in list(sys.modules.items())
        if name == PACKAGE or name.startswith(f"{PACKAGE}.")
    }

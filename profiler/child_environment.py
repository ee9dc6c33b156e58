"""The environment of child processes: they import the same kswatch as their parent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import kswatch

IMPORT_ROOT = Path(kswatch.__file__).parents[1]
"""The folder on `sys.path` that holds the package: a checkout's root, or site-packages."""


def child_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `variables`, and `IMPORT_ROOT` first on the child's import path."""
    python_path = os.pathsep.join(filter(None, (str(IMPORT_ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": python_path, **variables}

"""Our import names are short; another distribution must not provide them too."""

import importlib

import pytest

from kswatch.profiler.diagnostics import FOLDERS, foreign_owner


@pytest.mark.parametrize("name", FOLDERS)
def test_our_folder_is_what_python_imports(name: str) -> None:
    importlib.import_module(name)
    assert foreign_owner(name) is None

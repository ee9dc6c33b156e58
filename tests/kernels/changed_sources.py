"""The CUDA sources with a defect."""

from __future__ import annotations

import shutil
from pathlib import Path

from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER


def changed_sources(folder: Path, file: str, source: str, planted: str) -> Path:
    """Copy the CUDA sources to a new folder, with one text of a file replaced; returns the folder."""
    shutil.copytree(SOURCE_FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    text = (folder / file).read_text()
    assert text.count(source) == 1, f"{file} has changed: plant the defect anew"
    (folder / file).write_text(text.replace(source, planted))
    return folder

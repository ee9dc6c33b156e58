"""Chains on the emulation, in one launch and in two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kswatch.kernels.fused.cuda.nvcc import SOURCE_FOLDER
from kswatch.kernels.fused.cuda.weight_layout import lay_out
from kswatch.kernels.fused.cuda_chain.tile import ChainTile
from kswatch.kernels.fused.host_emulator import emulator as host
from tests.kernels.chains import Chain, make_chain, run_chain
from tests.kernels.changed_sources import changed_sources
from tests.kernels.fused.conftest import launch_on_host


def in_one_launch(
    chain: Chain, tile: ChainTile, order: int = 1, folder: Path = SOURCE_FOLDER
) -> torch.Tensor:
    y = chain.y
    run_chain(
        chain,
        tile,
        lambda unit, *launch: host.execute(host.build(unit, folder), *_swapped(*launch, order)),
        y,
    )
    return y


def _swapped(shape, packed, tensors, order):
    return packed, shape, tensors, order


def in_two_launches(chain: Chain, tile: ChainTile) -> torch.Tensor:
    """By the same tiles as products of their own."""
    first, second = chain.problems
    held = launch_on_host(first, tile.first, lay_out(chain.weights[0], tile.first), chain.x)
    return launch_on_host(second, tile.second, lay_out(chain.weights[1], tile.second), held, chain.bias)


def seen_defect(monkeypatch: pytest.MonkeyPatch, folder: Path, mutant: Any, tile: ChainTile) -> str:
    """What shows a defect that is planted in a copy of the sources: the emulation's or that of the values."""
    changed = changed_sources(folder / "source", mutant.file, mutant.source, mutant.planted)
    monkeypatch.setenv("KSWATCH_CACHE", str(folder / "cache"))
    chain = make_chain(mutant.problems)
    try:
        return chain.correctness(in_one_launch(chain, tile, folder=changed)).reason or "nothing"
    except host.Defect as defect:
        return str(defect)

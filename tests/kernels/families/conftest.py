"""Matrices of layers by definitions of their own, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import Structure
from kswatch.kernels.family_layers.build import build_layer, make_input


def made(
    structure: str, shape: LayerShape, implementation: str | None = None
) -> tuple[nn.Module, torch.Tensor]:
    """A layer, by the first of its implementations or the named one, and an input."""
    found, generator = Structure.parse(structure), torch.Generator().manual_seed(3)
    name = implementation or found.family.implementations[0]
    layer = build_layer(found, shape, name, generator=generator)
    return layer, make_input(shape, generator, "cpu")


@pytest.fixture(name="made", scope="session")
def _made() -> Callable[..., tuple[nn.Module, torch.Tensor]]:
    return made


@pytest.fixture(autouse=True, scope="module")
def _one_thread(one_thread: None) -> Iterator[None]:
    """Products here are tiny."""
    yield

"""The one explicit list of models: a new one is a file here, a network in `kernels/networks`, and a line."""

from __future__ import annotations

from kswatch.errors import UsageError
from kswatch.kernels.models.base import Model
from kswatch.kernels.models.gpt2 import GPT2_BLOCK, GPT2_MEDIUM
from kswatch.kernels.models.vit_s16 import VIT_S16

MODELS: tuple[Model, ...] = (VIT_S16, GPT2_MEDIUM, GPT2_BLOCK)


def find_model(name: str) -> Model:
    """The model with the given name.

    Raises:
        UsageError: no model has this name.
    """
    for candidate in MODELS:
        if candidate.name == name:
            return candidate
    raise UsageError(f"unknown model {name!r}; choose from {', '.join(one.name for one in MODELS)}")

"""The implementations as objects, made of the lines of `kswatch.declared.implementations`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

from kswatch.declared.implementations import DECLARED, Group
from kswatch.errors import UsageError
from kswatch.kernels.implementation import Implementation


def _made(*groups: Group) -> Iterator[Implementation]:
    """One object for each line; a revision may lack those that were declared after it."""
    for one in DECLARED:
        module, _, name = one.source.partition(":")
        if one.group in groups and find_spec(f"kswatch.kernels.{module}"):
            made: Implementation = getattr(import_module(f"kswatch.kernels.{module}"), name)()
            yield made


IMPLEMENTATIONS: tuple[Implementation, ...] = tuple(_made("fused", "paper", "stock"))
"""`fused` and the baselines of stock torch, which are measured unless others are named."""

RIVALS: tuple[Implementation, ...] = tuple(_made("rival"))
"""Baselines of libraries that a machine may lack (extras `rivals`, `rivals-gpu`); measured on request."""


def implementation(name: str) -> Implementation:
    """The implementation with the given name.

    Raises:
        UsageError: no implementation has this name.
    """
    known = (*IMPLEMENTATIONS, *RIVALS)
    for candidate in known:
        if candidate.name == name:
            return candidate
    names = ", ".join(candidate.name for candidate in known)
    raise UsageError(f"unknown implementation {name!r}; choose from {names}")

"""How a gate's result is told: the same five ways for a measured gate and for a static one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Telling(Generic[Result]):
    """A function for each way; all text of other people is escaped in each."""

    text: Callable[[Result], str]
    rows: Callable[[Result], list[dict[str, object]]]
    """For JSON: one object for each thing that was judged."""
    junit: Callable[[Result], str]
    markdown: Callable[[Result], str]
    annotations: Callable[[Result], str]
    """GitHub workflow commands, one a line."""

"""A spinner on the terminal while a command waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show the text with a spinner on stderr inside; without effect where stderr is no terminal."""
    from rich.console import Console

    with Console(stderr=True).status(text):
        yield

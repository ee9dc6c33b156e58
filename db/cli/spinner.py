"""What a command waits for, told to who looks at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Says it on stderr as long as the block runs; nothing where that is no terminal."""
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield

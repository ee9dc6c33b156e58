"""A spinner on the terminal while a command waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show the text with a spinner on stderr inside; without effect where stderr is no terminal."""
    from kswatch.db.cli.terminal import escape, make_console

    with make_console(stderr=True).status(escape(text)):
        yield

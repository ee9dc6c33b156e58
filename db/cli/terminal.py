"""Output to terminals and logs: text from stores, files and commits cannot steer what shows it.

Names come from imports, commits and other hosts. Escape sequences in them would move the cursor or change a
terminal's settings, and at the start of a line GitHub reads `::` as a command to its runner.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from kswatch.db.decoding import whole_number
from kswatch.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters but tab and line feed, marks that reverse the direction of text, half characters."""
MOST_DIGITS = 4
"""Of a terminal's size."""
_WORKFLOW_COMMAND = re.compile(r"^([ \t]*)(::|##\[|##vso\[|##teamcity\[)", re.MULTILINE)


def escape(text: str) -> str:
    r"""The text with each character that could steer a terminal written as `\u001b`, which JSON reads too."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def without_commands(text: str) -> str:
    """The text whose lines no CI runner takes for a command."""
    return _WORKFLOW_COMMAND.sub(r"\1\\\2", text)


def _encodable(text: str, encoding: str) -> str:
    """The text, in which a code stands for each character that the encoding lacks."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        units = text.encode("utf-16-be", "surrogatepass")
        codes = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
        return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)
    return text


class SafeStream:
    """A text stream that escapes what is written to it, and writes what its encoding lacks by code."""

    encoding = "utf-8"
    """Any text can be written, whatever the inner stream's encoding is."""

    def __init__(self, inner: IO[str]) -> None:
        self.inner = inner
        self._starts_line = True

    def write(self, text: str) -> int:
        """Write escaped text.

        Raises:
            UsageError: there is no room for it; a closed pipe raises `BrokenPipeError`.
        """
        self.write_unescaped(self._without_commands(escape(text)))
        return len(text)

    def write_unescaped(self, text: str) -> None:
        """Write text that this program made, such as a command to a CI runner."""
        if not text:  # as callers write to find out what a stream takes
            return
        encoding = getattr(self.inner, "encoding", None) or "utf-8"
        with self._one_sentence():
            self.inner.write(_encodable(text, encoding))
        self._starts_line = text.endswith("\n")

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand what was written to the system.

        Raises:
            UsageError: there is no room for it.
        """
        with self._one_sentence():
            self.inner.flush()

    def _without_commands(self, text: str) -> str:
        """The text whose lines no CI runner takes for a command."""
        if self._starts_line:
            return without_commands(text)
        first, end, rest = text.partition("\n")
        return first + end + without_commands(rest)

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        """Raise what the system refuses as one sentence, but a closed pipe as it is."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            with suppress(OSError):  # what is left in the buffer must not fail once more at the exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.inner.fileno())
            raise UsageError(
                f"the output cannot be written: {error.strerror}; free some room for it"
            ) from None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the stream has)
        return getattr(self.inner, name)


def protect_output() -> None:
    """Escape what this process writes to stdout and stderr from now on, and forget sizes that are none."""
    for name in ("COLUMNS", "LINES"):
        if name in os.environ and whole_number(os.environ[name], MOST_DIGITS) is None:
            del os.environ[name]  # libraries take any digits, "²" too, for a number
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or isinstance(stream, SafeStream):
            continue
        with suppress(OSError, ValueError):
            os.set_blocking(stream.fileno(), True)  # a pipe whose reader is slow is waited for
        setattr(sys, name, SafeStream(stream))


def write_command(text: str) -> None:
    """Write lines for a CI runner to stdout; the caller has escaped the names in them."""
    stream = sys.stdout
    if isinstance(stream, SafeStream):
        stream.write_unescaped(text + "\n")
    else:
        stream.write(text + "\n")


def make_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console of Rich, whose own colours pass and whose texts are escaped."""
    from rich.console import Console
    from rich.segment import Segment
    from rich.text import Text

    class SafeConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401
            return super().render_str(escape(text), **options)

        def render(self, renderable: Any, options: Any = None) -> Any:  # noqa: ANN401
            for part in super().render(renderable, options):
                is_safe = part.control is not None or _UNSAFE.search(part.text) is None
                yield part if is_safe else Segment(escape(part.text), part.style)

    stream = sys.stderr if stderr else sys.stdout
    return SafeConsole(file=stream.inner if isinstance(stream, SafeStream) else stream, width=width)

"""The file by which a supervisor sees that `serve` or `worker` goes on: its time is that of the last step."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from kswatch.errors import ConfigurationError

_log = logging.getLogger(__name__)


class AliveFile:
    """A file that is written anew at each step; without a path nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._failed = False

    def write(self) -> None:
        """Write the time; a full disk ends no night, it lets the file grow old, and is logged once."""
        try:
            self.begin()
            self._failed = False
        except ConfigurationError as error:
            if not self._failed:
                _log.warning("%s", error)
            self._failed = True

    def begin(self) -> None:
        """Write the time, by a rename: no reader sees a part of it. Any user may read it.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        if self._path is None:
            return
        text = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {os.getpid()}\n"
        part: Path | None = None
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=self._path.absolute().parent, prefix=f".{self._path.name}.", delete=False
            ) as file:
                part = Path(file.name)
                file.write(text)
            part.chmod(0o644)
            part.replace(self._path)
        except OSError as error:
            if part is not None:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
            raise ConfigurationError(
                f"{self._path} cannot be written ({error.strerror}); name another with --alive-file"
            ) from error


@contextmanager
def alive_file(path: Path | None) -> Iterator[AliveFile]:
    """The file, written at once, and removed at the end: a process that stopped in order does not hang.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    found = AliveFile(path)
    found.begin()
    try:
        yield found
    finally:
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)

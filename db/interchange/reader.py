"""Reading a file's text line by line, so that a broken line does not affect its neighbours.

A file is read twice: checked first, so that a broken one records nothing, then line by line, so that its
size does not matter.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import stat
import sys
import tempfile
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kswatch.errors import FormatError

LONGEST_ROW = 50
"""Most lines of one row; an unclosed quote then breaks its own line only."""
LONGEST_LINE = 64 * 2**20
"""Bytes; a line of ten thousand samples has a quarter of a megabyte."""
MOST_BYTES = 8 * 2**30
"""After unpacking: an archive may hold a thousand times its size."""
_CHUNK = 2**20

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a field may hold ten thousand samples


@dataclass(frozen=True)
class TextFile:
    """A file that was checked: its lines can be read, any number of times."""

    path: Path
    file: IO[bytes]
    is_packed: bool
    starts_with: str
    """The first character that is no space."""

    def lines(self) -> Iterator[str]:
        """The lines without their ends, from the beginning; a byte-order mark is dropped."""
        unpacked = _unpacked(self.file, self.is_packed)
        with io.TextIOWrapper(unpacked, encoding="utf-8-sig", newline="\n") as text:
            for line in text:
                yield line.removesuffix("\n")


def open_text(path: Path) -> TextFile:
    """The file, whose text is complete UTF-8; `.gz` is unpacked while it is read.

    Raises:
        FormatError: it cannot be read, is empty, too large, or not UTF-8.
    """
    try:
        file = _seekable(path)
        packed = path.suffix == ".gz"
        first = _check(path, _unpacked(file, packed))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise FormatError(f"{path} cannot be read: {reason}; check the path and its permissions") from None
    if not first:
        raise FormatError(f"{path} is empty; export or download it again")
    return TextFile(path, file, packed, first)


def _seekable(path: Path) -> IO[bytes]:
    """The file, or a temporary copy of what a pipe gives.

    Raises:
        FormatError: it is a device, which may never end, or the pipe gives too much.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return path.open("rb")  # noqa: SIM115  (its reader closes it)
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise FormatError(f"{path} is a device; name a file or a pipe")
    with path.open("rb") as pipe:
        copy = tempfile.TemporaryFile()  # noqa: SIM115  (its reader closes it)
        while chunk := pipe.read(_CHUNK):
            copy.write(chunk)
            if copy.tell() > MOST_BYTES:
                raise FormatError(f"{path} gives more than {MOST_BYTES // 2**30} GiB; split it")
    return copy


def _unpacked(file: IO[bytes], is_packed: bool) -> io.BufferedReader:
    """The file's bytes from its beginning; closing them leaves the file open."""
    file.seek(0)
    raw = gzip.GzipFile(fileobj=file, mode="rb") if is_packed else io.FileIO(file.fileno(), closefd=False)
    return io.BufferedReader(raw, _CHUNK)


def _check(path: Path, file: io.BufferedReader) -> str:
    """The first character that is no space; empty for none. The text must be complete UTF-8 within limits."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    first, size, line, length = "", 0, 1, 0
    while True:
        chunk = file.read(_CHUNK)
        if size == 0 and chunk.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise FormatError(f"{path} is UTF-16, not UTF-8; save it as UTF-8 and import it again")
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line += error.object.count(b"\n", 0, error.start)
            raise FormatError(
                f"{path} is not UTF-8 (line {line}, byte 0x{error.object[error.start]:02x}); "
                "if it is Latin-1, convert it with `iconv -f latin1 -t utf-8`"
            ) from None
        if not chunk:
            return first
        first = first or text.lstrip()[:1]
        size, line = size + len(chunk), line + chunk.count(b"\n")
        end = chunk.rfind(b"\n")
        length = length + len(chunk) if end < 0 else len(chunk) - end - 1
        if length > LONGEST_LINE or size > MOST_BYTES:
            limit = f"line {line} is longer than {LONGEST_LINE // 2**20} MiB"
            limit = (
                limit if length > LONGEST_LINE else f"it holds more than {MOST_BYTES // 2**30} GiB of text"
            )
            raise FormatError(f"{path} is too large: {limit}; split it")


def csv_rows(lines: Iterator[str]) -> Iterator[tuple[int, list[str] | str]]:
    """(line number, fields) of each row, or (line number, error); empty lines are skipped."""
    waiting: deque[str] = deque()
    columns, at = 0, 1
    while True:
        while len(waiting) < LONGEST_ROW and (line := next(lines, None)) is not None:
            waiting.append(line)
        if not waiting:
            return
        fields, taken = _row(list(waiting), columns)
        if fields:
            columns = columns or len(fields)
            yield at, fields
        at += taken
        for _ in range(taken):
            waiting.popleft()


def _row(lines: list[str], columns: int) -> tuple[list[str] | str, int]:
    """The row that starts at the first of these lines, and its number of lines."""
    alone = _fields(lines[0])
    if not isinstance(alone, str):
        return alone, 1
    quotes = lines[0].count('"')
    for taken, line in enumerate(lines[1:], start=2):
        quotes += line.count('"')
        if quotes % 2 == 0:
            joined = _fields("\n".join(lines[:taken]))
            if len(joined) == columns and not isinstance(joined, str):
                return joined, taken
    return alone, 1


def _fields(row: str) -> list[str] | str:
    """The row's fields, none for an empty line, or the error."""
    try:
        return next(csv.reader((row.removesuffix("\r"),), strict=True), [])
    except csv.Error as error:
        return f"is not CSV ({error})"

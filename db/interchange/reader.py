"""Reading a file's text line by line, so that a broken line does not affect its neighbours."""

from __future__ import annotations

import csv
import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from kswatch.errors import FormatError

LONGEST_ROW = 50
"""Most lines of one row; an unclosed quote then breaks its own line only."""

csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a field may hold ten thousand samples


def read_text(path: Path) -> str:
    """The file's text; `.gz` is unpacked, a byte-order mark dropped.

    Raises:
        FormatError: it cannot be read, is empty, or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise FormatError(f"{path} cannot be read: {reason}; check the path and its permissions") from None
    if not raw.strip():
        raise FormatError(f"{path} is empty; export or download it again")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FormatError(f"{path} is UTF-16, not UTF-8; save it as UTF-8 and import it again")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{path} is not UTF-8 (line {line}, byte 0x{raw[error.start]:02x}); "
            "if it is Latin-1, convert it with `iconv -f latin1 -t utf-8`"
        ) from None


def csv_rows(text: str) -> Iterator[tuple[int, list[str] | str]]:
    """(line number, fields) of each row, or (line number, error); empty lines are skipped."""
    lines = text.split("\n")
    columns = 0
    at = 0
    while at < len(lines):
        fields, taken = _row(lines, at, columns)
        if fields:
            columns = columns or len(fields)
            yield at + 1, fields
        at += taken


def _row(lines: list[str], at: int, columns: int) -> tuple[list[str] | str, int]:
    """The row that starts at a line, and its number of lines."""
    alone = _fields(lines[at])
    if not isinstance(alone, str):
        return alone, 1
    quotes = lines[at].count('"')
    for taken, line in enumerate(lines[at + 1 : at + LONGEST_ROW], start=2):
        quotes += line.count('"')
        if quotes % 2 == 0:
            joined = _fields("\n".join(lines[at : at + taken]))
            if len(joined) == columns and not isinstance(joined, str):
                return joined, taken
    return alone, 1


def _fields(row: str) -> list[str] | str:
    """The row's fields, none for an empty line, or the error."""
    try:
        return next(csv.reader((row.removesuffix("\r"),), strict=True), [])
    except csv.Error as error:
        return f"is not CSV ({error})"

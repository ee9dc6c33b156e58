"""The file that holds what was learned: JSON, of one version, read whole or refused."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from kswatch.errors import ConfigurationError, UsageError
from kswatch.kernels.heuristics.section import Section

FORMAT = "kswatch-heuristics"
VERSION = 1
"""Raised whenever terms, features or their meaning change: an older file is then refused."""

SHIPPED = Path(__file__).with_name("learned.json")
PATH_VARIABLE = "KSWATCH_HEURISTICS"
_FIT = "`kswatch heuristics fit --output FILE`"


def model_path() -> Path:
    """The file in use: the one that KSWATCH_HEURISTICS names, else the shipped one."""
    named = os.environ.get(PATH_VARIABLE)
    return Path(named) if named else SHIPPED


def learned_sections() -> tuple[Section, ...]:
    """What the file in use holds, read once; nothing where there is no file.

    Raises:
        ConfigurationError: it is corrupt or of another version, or was named and does not exist.
    """
    path = model_path()
    try:
        changed_at_ns = path.stat().st_mtime_ns
    except OSError:
        if path == SHIPPED:
            return ()
        raise ConfigurationError(
            f"{PATH_VARIABLE} names {path}, which does not exist; make it with {_FIT}"
        ) from None
    return _read_once(path, changed_at_ns)


@cache
def _read_once(path: Path, changed_at_ns: int) -> tuple[Section, ...]:
    del changed_at_ns  # part of the key alone: a file written anew is read anew
    return read_sections(path)


def read_sections(path: Path) -> tuple[Section, ...]:
    """The sections of a model file.

    Raises:
        ConfigurationError: it cannot be read, is corrupt, or of another version.
    """
    cure = f"make it anew with {_FIT}, or unset {PATH_VARIABLE}"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}")
        version = document["version"]
        sections = tuple(map(Section.from_plain, document["sections"])) if version == VERSION else ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path} is no model of heuristics ({_told(error)}); {cure}") from error
    if version != VERSION:
        raise ConfigurationError(f"{path} is a model of version {version}, this is {VERSION}; {cure}")
    return sections


def _told(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def write_sections(path: Path, sections: Sequence[Section]) -> None:
    """Write a model file; an interrupted write leaves the former one.

    Raises:
        UsageError: it cannot be written there.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "sections": [section.to_plain() for section in sections],
    }
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        draft.write_text(json.dumps(document, separators=(",", ":"), allow_nan=False), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error}); name another file with --output") from error


def merged(former: Sequence[Section], new: Sequence[Section]) -> tuple[Section, ...]:
    """Both; a new one takes the place of a former one of the same device, metric, precision and layout."""
    named = {_name(section): section for section in (*former, *new)}
    return tuple(named[name] for name in sorted(named))


def _name(section: Section) -> tuple[str, str, str, str]:
    return str(section.device.get("model")), section.metric, section.precision, section.layout

"""The model file with the fitted sections: JSON of one version, which is read completely or rejected."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from kswatch.errors import ConfigurationError, UsageError
from kswatch.kernels.heuristics.section import ModelSection

FORMAT = "kswatch-heuristics"
VERSION = 1
"""Incremented when terms, features or their meaning change; files of another version are rejected."""

SHIPPED = Path(__file__).with_name("learned.json")
PATH_VARIABLE = "KSWATCH_HEURISTICS"
_FIT = "`kswatch heuristics fit --output FILE`"


def model_path() -> Path:
    """The model file in use: the one named by KSWATCH_HEURISTICS, else the shipped one."""
    named = os.environ.get(PATH_VARIABLE)
    return Path(named) if named else SHIPPED


def learned_sections() -> tuple[ModelSection, ...]:
    """The sections of the model file in use, read once; empty if the shipped file is absent.

    Raises:
        ConfigurationError: the file is corrupt, has another version, or is named but does not exist.
    """
    path = model_path()
    try:
        changed_at_ns = path.stat().st_mtime_ns
    except OSError:
        if path == SHIPPED:
            return ()
        raise ConfigurationError(
            f"{PATH_VARIABLE} names {path}, which does not exist; create it with {_FIT}"
        ) from None
    return _read_once(path, changed_at_ns)


@cache
def _read_once(path: Path, changed_at_ns: int) -> tuple[ModelSection, ...]:
    del changed_at_ns  # only part of the cache key: a changed file is read again
    return read_sections(path)


def read_sections(path: Path) -> tuple[ModelSection, ...]:
    """The sections of a model file.

    Raises:
        ConfigurationError: the file cannot be read, is corrupt, or has another version.
    """
    cure = f"create it again with {_FIT}, or unset {PATH_VARIABLE}"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}")
        version = document["version"]
        sections = tuple(map(ModelSection.from_plain, document["sections"])) if version == VERSION else ()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ConfigurationError(f"{path} is not a model file ({reason}); {cure}") from error
    if version != VERSION:
        raise ConfigurationError(f"{path} is a model file of version {version}, not {VERSION}; {cure}")
    return sections


def write_sections(path: Path, sections: Sequence[ModelSection]) -> None:
    """Write a model file; an interrupted write leaves the previous one.

    Raises:
        UsageError: the file cannot be written.
    """
    plain = [section.to_plain() for section in sections]
    document = {"format": FORMAT, "version": VERSION, "sections": plain}
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        draft.write_text(json.dumps(document, separators=(",", ":"), allow_nan=False), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error}); name another file with --output") from error


def merge_sections(former: Sequence[ModelSection], new: Sequence[ModelSection]) -> tuple[ModelSection, ...]:
    """All sections; a new one replaces a former one of the same device, metric, precision and layout."""
    named = {
        (str(section.device.get("model")), section.metric, section.precision, section.layout): section
        for section in (*former, *new)
    }
    return tuple(named[name] for name in sorted(named))

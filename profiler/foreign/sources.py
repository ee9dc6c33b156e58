"""Where foreign implementations and suites come from: entry points of installed packages, or one file.

Reads metadata only: foreign code is imported in child processes (`trial.py`, `kswatch.profiler.executors`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Literal

from kswatch.db.records import AD_HOC, FOREIGN, KNOWN_IMPLEMENTATIONS, is_foreign, is_structured
from kswatch.declared.suites import SUITES
from kswatch.errors import UsageError

Group = Literal["kswatch.implementations", "kswatch.suites"]
"""The groups of entry points."""
IMPLEMENTATION_GROUP: Group = "kswatch.implementations"
SUITE_GROUP: Group = "kswatch.suites"

OWN_NAMES: dict[Group, tuple[str, ...]] = {
    IMPLEMENTATION_GROUP: KNOWN_IMPLEMENTATIONS,
    SUITE_GROUP: (AD_HOC, *(suite.name for suite in SUITES)),
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}")
_FILE = re.compile(r"(?P<path>.+\.py):(?P<attribute>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class ForeignSource:
    """One foreign implementation or suite."""

    name: str
    """Without the marker that the store has in front of it."""
    target: str
    """`package.module:Class`, or `/path/to/file.py:Class`."""
    library: str
    """The distribution, or the file's name."""
    version: str
    """The distribution's version, or the first digits of the file's SHA-256."""
    group: Group = IMPLEMENTATION_GROUP
    is_file: bool = False

    @property
    def marked(self) -> str:
        """The name in the store, which marks it as foreign."""
        return FOREIGN + self.name

    @property
    def in_words(self) -> str:
        """The name and where it comes from, as `example_torch of kswatch-example 0.1`."""
        return f"{self.name} of {self.library} {self.version}"


@dataclass(frozen=True)
class Trial:
    """What importing a foreign implementation or suite showed."""

    failure: str | None = None
    """Why it cannot be used, as a sentence."""
    statement: str = ""
    """The first line of its docstring."""
    problems: tuple[str, ...] = ()
    """The products of a suite, as text."""
    unsupported: str | None = None
    """Why an implementation cannot compute a small product on the CPU; None where it can."""


@dataclass(frozen=True)
class Foreign:
    """The foreign implementations and suites that a process may use: a value to send to a child process."""

    names: tuple[str, ...] = ()
    """Those of installed packages: listed in `[profiler] foreign`, or named on the command line."""
    files: tuple[ForeignSource, ...] = ()
    """Those of files that the command line named."""

    def implementation(self, name: str) -> ForeignSource:
        """The implementation of this name, with or without its marker.

        Raises:
            UsageError: it may not be used here, is not installed, or its name is not its own.
        """
        plain = name.removeprefix(FOREIGN)
        for source in self.files:
            if source.name == plain:
                return source
        return self._listed(plain, IMPLEMENTATION_GROUP)

    def suite(self, name: str) -> ForeignSource:
        """The suite of this name, with or without its marker.

        Raises:
            UsageError: it may not be used here, is not installed, or its name is not its own.
        """
        return self._listed(name.removeprefix(FOREIGN), SUITE_GROUP)

    def _listed(self, name: str, group: Group) -> ForeignSource:
        if name not in self.names:
            raise UsageError(
                f"foreign {_kind(group)} {name!r} is not listed in [profiler] foreign of this host"
            )
        return find(name, group)

    def has(self, name: str) -> bool:
        """Whether an implementation of this name may be used here."""
        plain = name.removeprefix(FOREIGN)
        return plain in self.names or any(source.name == plain for source in self.files)

    def implementations(self) -> tuple[str, ...]:
        """The marked names of those that are listed and installed as implementations."""
        found = {source.name for source in installed(IMPLEMENTATION_GROUP)}
        return tuple(FOREIGN + name for name in self.names if name in found)


def is_file(text: str) -> bool:
    """Whether this is written as a class of a file, as `path/to/file.py:MyImplementation`."""
    return _FILE.fullmatch(text) is not None


def installed(group: Group) -> list[ForeignSource]:
    """Every entry point of the group, in the order of their names, also those that `refusal` refuses."""
    found = {(point.name, point.value): _source(point, group) for point in entry_points(group=group)}
    return [found[key] for key in sorted(found)]


def find(name: str, group: Group) -> ForeignSource:
    """The installed entry point of this name.

    Raises:
        UsageError: there is none, its name is one of ours, or two packages have it.
    """
    every = installed(group)
    source = next((one for one in every if one.name == name), None)
    if source is None:
        raise UsageError(f"no installed package has a {_kind(group)} {name!r}; `kswatch doctor` lists them")
    if reason := refusal(source, every):
        raise UsageError(reason)
    return source


def refusal(source: ForeignSource, every: Collection[ForeignSource]) -> str | None:
    """Why a foreign name is refused: it is malformed, one of ours, or another foreign one's; else None."""
    kind = _kind(source.group)
    if not _NAME.fullmatch(source.name):
        return f"{source.in_words}: a name has letters, digits and _, at most 50; rename the entry point"
    if source.name in OWN_NAMES[source.group]:
        return f"{source.in_words} has the name of one of kswatch's own {kind}s; rename it"
    others = [one for one in every if one.name == source.name and one.target != source.target]
    if others:
        return f"{source.in_words} has the name of {others[0].in_words}; uninstall one, or rename it"
    return None


def from_command_line(
    suite: str | None, implementations: Sequence[str], listed: Sequence[str]
) -> tuple[list[str], Foreign]:
    """The given names, the foreign ones marked, and what the process may use for them.

    `listed` are the names of the configuration. A name that is neither ours nor foreign stays as it is.

    Raises:
        UsageError: a file or its class is missing, or a foreign name is not its own.
    """
    files: list[ForeignSource] = []
    names: list[str] = []
    for text in implementations:
        if text in KNOWN_IMPLEMENTATIONS:
            names.append(text)
        elif found := _FILE.fullmatch(text):
            files.append(_of_file(Path(found["path"]), found["attribute"], files))
            names.append(files[-1].marked)
        elif is_structured(text) or not _is_installed(text, IMPLEMENTATION_GROUP):
            names.append(text)
        else:
            names.append(find(text.removeprefix(FOREIGN), IMPLEMENTATION_GROUP).marked)
    own = [name.removeprefix(FOREIGN) for name in names if is_foreign(name)]
    if suite and suite not in OWN_NAMES[SUITE_GROUP] and _is_installed(suite, SUITE_GROUP):
        own.append(suite.removeprefix(FOREIGN))
    return names, Foreign(tuple(dict.fromkeys((*listed, *own))), tuple(files))


def _of_file(path: Path, attribute: str, others: Sequence[ForeignSource]) -> ForeignSource:
    if not path.is_file():
        raise UsageError(f"there is no file {path}; name one as path/to/file.py:MyImplementation")
    version = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    source = ForeignSource(attribute, f"{path.resolve()}:{attribute}", path.name, version, is_file=True)
    if reason := refusal(source, (*others, *installed(IMPLEMENTATION_GROUP))):
        raise UsageError(reason)
    return source


def _is_installed(name: str, group: Group) -> bool:
    return any(source.name == name.removeprefix(FOREIGN) for source in installed(group))


def _source(point: EntryPoint, group: Group) -> ForeignSource:
    library, version = (point.dist.name, point.dist.version) if point.dist else ("an unknown package", "")
    return ForeignSource(point.name, point.value, library, version, group)


def _kind(group: Group) -> str:
    return group.rpartition(".")[2].removesuffix("s")


def versions(foreign: Foreign) -> Iterator[tuple[str, dict[str, str]]]:
    """The marked name of each implementation that is here, with its library and that library's version."""
    listed = (source for source in installed(IMPLEMENTATION_GROUP) if source.name in foreign.names)
    for source in (*listed, *foreign.files):
        yield source.marked, {source.library: source.version}

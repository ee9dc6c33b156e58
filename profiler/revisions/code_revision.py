"""The revision of the code that runs: of the checkout that tracks it, else of the installation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit

from kswatch import kernels
from kswatch.db.records import RevisionRecord
from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.revisions.git import foreign_checkout, git, repository_of, revision_of

DISTRIBUTION = "kswatch"
_DIGITS = 16
_CODE = Path(__file__)


def running_revision() -> RevisionRecord:
    """The commit of the checkout that tracks the running code, else the installed version.

    An installation below another repository (a virtual environment inside a thesis) is not that
    repository's commit: git tracks none of its files.
    """
    return checkout_revision(_CODE) or installed_revision()


def revision_note() -> str | None:
    """Why the commit of the running code is not recorded although it lies in a checkout, with the cure."""
    return foreign_checkout(_CODE)


def checkout_revision(path: Path) -> RevisionRecord | None:
    """The commit of the work tree that tracks `path`; None without git, and where git does not track it.

    Only changes to tracked files make it dirty: a store or a report beside the code does not.
    """
    path = path.resolve()
    folder = path if path.is_dir() else path.parent
    with suppress(UsageError, MeasurementError):
        top = repository_of(folder)
        git(folder, "ls-files", "--error-unmatch", "-z", "--", str(path))
        branch = git(top, "rev-parse", "--abbrev-ref", "HEAD").strip()
        changes = git(top, "status", "--porcelain", "--untracked-files=no").strip()
        head = revision_of(top, "HEAD")
        return replace(head, branch=None if branch == "HEAD" else branch[:255], dirty=bool(changes))
    return None


def installed_revision() -> RevisionRecord:
    """The installed version: the commit it was built from where pip recorded one, else the kernels' digest.

    Without a commit the revision is called `VERSION+DIGEST`, the digest being of the files of `kernels/`:
    equal code has equal names, whichever way it was installed.
    """
    installed = _distribution()
    version = installed.version if installed else "unknown"
    origin = _origin(installed)
    subject = f"kswatch {version}, installed from {_source(origin)}"[:500]
    built_from = origin.get("vcs_info", {})
    if isinstance(built_from, Mapping) and built_from.get("commit_id"):
        branch = str(built_from.get("requested_revision") or "")[:255]
        return RevisionRecord(str(built_from["commit_id"])[:64], None, subject, branch or None)
    return RevisionRecord(f"{version[:40]}+{_kernels_digest()}", None, subject)


def _distribution() -> Distribution | None:
    try:
        return distribution(DISTRIBUTION)
    except PackageNotFoundError:  # an unpacked archive on the path
        return None


def _origin(installed: Distribution | None) -> Mapping[str, dict[str, object]]:
    """What pip recorded of the origin (PEP 610); empty for a package index and for a damaged record."""
    text = installed.read_text("direct_url.json") if installed else None
    try:
        origin = json.loads(text) if text else {}
    except ValueError:
        return {}
    return origin if isinstance(origin, dict) else {}


def _source(origin: Mapping[str, object]) -> str:
    """Where it was installed from, without user names, passwords and folders of this machine."""
    parts = urlsplit(str(origin.get("url", "")))
    if parts.scheme == "file":
        return f"the local {'folder' if 'dir_info' in origin else 'archive'} {Path(parts.path).name}"
    if parts.hostname:
        return f"{parts.scheme}://{parts.hostname}{parts.path}"
    return "a package index" if not origin else "an unknown origin"


@cache
def _kernels_digest() -> str:
    """A digest of the names and contents of the files of `kernels/`."""
    root = Path(next(iter(kernels.__path__)))
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(root).as_posix().encode("utf-8", "surrogateescape")
            digest.update(name + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:_DIGITS]

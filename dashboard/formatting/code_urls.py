"""Web addresses of commits and of ranges of commits, in the forms of GitHub, GitLab and Bitbucket.

Other hosts get GitHub's form, which Gitea and Forgejo share and GitLab redirects.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from kswatch.errors import ConfigurationError

SHORT_COMMIT = 12
"""Digits of a commit wherever one is shown, and in its address; every host finds a commit by these."""

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?")
_SCP_FORM = re.compile(r"(?:[^@/:]+@)?([^/:@]+):(?!//)(.+)")
_FORMS = {"gitlab": ("-/commit", "-/compare"), "bitbucket": ("commits", "branches/compare")}
_GITHUB_FORM = ("commit", "compare")


def repository_address(remote: str) -> str | None:
    """The web address of a repository by the address of its git remote; None where it has no host.

    Credentials, `.git` and the port of ssh are left out: `git@host:owner/name.git` is `https://host/owner/name`.
    """
    text = remote.strip()
    if any(character.isspace() or not character.isprintable() for character in text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:  # brackets that hold no address
        return None
    if parts.scheme in ("http", "https"):
        return _address(parts.scheme, parts.netloc.rpartition("@")[2], parts.path)
    if parts.scheme in ("ssh", "git", "git+ssh"):
        host = re.sub(r":[0-9]*$", "", parts.netloc.rpartition("@")[2])
        return _address("https", host, parts.path)
    scp = _SCP_FORM.fullmatch(text)
    # a drive letter of Windows looks like a host, and a host of the SSH configuration has no dot
    return _address("https", scp[1], scp[2]) if scp and "." in scp[1] else None


def _address(scheme: str, host: str, path: str) -> str | None:
    path = quote(path.strip("/").removesuffix(".git").strip("/"), safe="/~%+.-_")
    return f"{scheme}://{host}/{path}" if _HOST.fullmatch(host) and path else None


def check_repository_url(url: str) -> None:
    """Check an address from the configuration, which is shown to everyone who sees the pages.

    Raises:
        ConfigurationError: it is no http(s) address, or holds credentials, a query or a fragment.
    """
    if repository_address(url) != url.rstrip("/").removesuffix(".git"):
        raise ConfigurationError(
            "dashboard.repository_url must be the http(s) address of a repository without credentials, "
            "as in https://github.com/owner/name"
        )


def commit_url(repository: str | None, commit: str | None) -> str | None:
    """The address of a commit; None without a repository, or for what is no commit's hash."""
    if not repository or not commit or not _COMMIT.fullmatch(commit):
        return None
    return f"{repository}/{_form(repository)[0]}/{commit[:SHORT_COMMIT]}"


def range_url(repository: str | None, good: str | None, bad: str | None) -> str | None:
    """The address of the commits after `good` up to `bad`; None without a repository or one of both."""
    if commit_url(repository, good) is None or commit_url(repository, bad) is None:
        return None
    assert repository and good and bad
    first, last = good[:SHORT_COMMIT], bad[:SHORT_COMMIT]
    of_range = f"{last}..{first}" if _kind(repository) == "bitbucket" else f"{first}...{last}"
    return f"{repository}/{_form(repository)[1]}/{of_range}"


def _form(repository: str) -> tuple[str, str]:
    return _FORMS.get(_kind(repository), _GITHUB_FORM)


def _kind(repository: str) -> str:
    host = urlsplit(repository).netloc
    return next((name for name in _FORMS if name in host), "")

"""GitHub and GitLab: the comments of the change that a CI job's variables name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from kswatch.ci.code_hosts.api import JsonApi
from kswatch.errors import ConfigurationError, MeasurementError

PAGE_SIZE = 100
MOST_PAGES = 100
ACTIONS_USER = "github-actions[bot]"
"""The author of what the token of a GitHub job writes; that token may not ask for its own name."""
GITHUB_CURE = "give the job the permission `pull-requests: write`; a pull request from a fork has none"
GITLAB_CURE = "set GITLAB_TOKEN to a project access token with the role Reporter and the scope `api`"


@dataclass(frozen=True)
class HostComment:
    """A comment on the change."""

    id: int
    author: str
    body: str


class CodeHost(Protocol):
    """The comments of one change."""

    most_characters: int
    """Of a comment."""
    job_url: str
    """The page of the running job, where its log is."""

    def user(self) -> str:
        """The name under which the token writes."""

    def comments(self) -> Iterator[HostComment]:
        """All comments, oldest first."""

    def create(self, body: str) -> None:
        """Write a new comment."""

    def replace(self, comment_id: int, body: str) -> None:
        """Write another body to a comment."""


class GitHub:
    """A pull request on GitHub."""

    most_characters = 65_536

    def __init__(self, environment: Mapping[str, str]) -> None:
        pull = re.fullmatch(r"refs/pull/(\d+)/\w+", environment.get("GITHUB_REF", ""))
        repository = _needed(environment, "GITHUB_REPOSITORY", r"[\w.-]+/[\w.-]+")
        if pull is None:
            raise ConfigurationError(
                "GITHUB_REF names no pull request; comment in a job of `on: pull_request`"
            )
        token = _needed(environment, "GITHUB_TOKEN", r"[\x21-\x7e]+")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
        address = environment.get("GITHUB_API_URL") or "https://api.github.com"
        self._api = JsonApi(address, headers | {"X-GitHub-Api-Version": "2022-11-28"}, GITHUB_CURE)
        self._comments, self._number = f"/repos/{repository}/issues", pull[1]
        server = environment.get("GITHUB_SERVER_URL") or "https://github.com"
        self.job_url = f"{server}/{repository}/actions/runs/{environment.get('GITHUB_RUN_ID', '')}"

    def user(self) -> str:
        """The user of the token; that of GitHub Actions where the token cannot ask."""
        try:
            return _name(self._api.call("GET", "/user"), "login")
        except ConfigurationError:
            return ACTIONS_USER

    def comments(self) -> Iterator[HostComment]:
        """All comments of the pull request."""
        for row in _pages(self._api, f"{self._comments}/{self._number}/comments"):
            yield _host_comment(row, "user", "login")

    def create(self, body: str) -> None:
        """Write a new comment."""
        self._api.call("POST", f"{self._comments}/{self._number}/comments", {"body": body})

    def replace(self, comment_id: int, body: str) -> None:
        """Write another body to a comment."""
        self._api.call("PATCH", f"{self._comments}/comments/{comment_id}", {"body": body})


class GitLab:
    """A merge request on GitLab."""

    most_characters = 1_000_000

    def __init__(self, environment: Mapping[str, str]) -> None:
        project = _needed(environment, "CI_PROJECT_ID", r"\d+")
        number = environment.get("CI_MERGE_REQUEST_IID", "")
        if not number.isdecimal():
            raise ConfigurationError("CI_MERGE_REQUEST_IID names no merge request; comment in its pipeline")
        token = _needed(environment, "GITLAB_TOKEN", r"[\x21-\x7e]+")
        address = _needed(environment, "CI_API_V4_URL", r"\S+")
        self._api = JsonApi(address, {"PRIVATE-TOKEN": token}, GITLAB_CURE)
        self._notes = f"/projects/{quote(project)}/merge_requests/{number}/notes"
        self.job_url = environment.get("CI_PIPELINE_URL", "")

    def user(self) -> str:
        """The user of the token."""
        return _name(self._api.call("GET", "/user"), "username")

    def comments(self) -> Iterator[HostComment]:
        """All comments of the merge request."""
        for row in _pages(self._api, self._notes + "?sort=asc&order_by=created_at"):
            yield _host_comment(row, "author", "username")

    def create(self, body: str) -> None:
        """Write a new comment."""
        self._api.call("POST", self._notes, {"body": body})

    def replace(self, comment_id: int, body: str) -> None:
        """Write another body to a comment."""
        self._api.call("PUT", f"{self._notes}/{comment_id}", {"body": body})


def host_of_job(environment: Mapping[str, str]) -> CodeHost:
    """The change of the CI job with these variables.

    Raises:
        ConfigurationError: it is no job of a pull or merge request, or there is no token.
    """
    if environment.get("GITLAB_CI"):
        return GitLab(environment)
    if environment.get("GITHUB_ACTIONS"):
        return GitHub(environment)
    raise ConfigurationError(
        "no change to comment on: neither GITHUB_ACTIONS nor GITLAB_CI is set; "
        "outside of CI use `kswatch gate --format comment`"
    )


def _host_comment(row: Mapping[str, Any], author: str, name: str) -> HostComment:
    """A comment of a host's answer; the author is empty where the account was deleted."""
    number, body = row.get("id"), row.get("body")
    if not isinstance(number, int):
        raise MeasurementError("the host lists a comment without a number; nothing was written")
    return HostComment(number, _name(row.get(author), name), body if isinstance(body, str) else "")


def _name(account: object, key: str) -> str:
    found = account.get(key) if isinstance(account, dict) else None
    return found if isinstance(found, str) else ""


def _needed(environment: Mapping[str, str], name: str, form: str) -> str:
    value = environment.get(name, "")
    if not re.fullmatch(form, value):
        problem = "is not set" if not value else "has another form than expected"
        raise ConfigurationError(f"{name} {problem}, so there is no comment; run it in a job of the change")
    return value


def _pages(api: JsonApi, path: str) -> Iterator[dict[str, Any]]:
    sign = "&" if "?" in path else "?"
    for page in range(1, MOST_PAGES + 1):
        rows = api.rows(f"{path}{sign}per_page={PAGE_SIZE}&page={page}")
        yield from rows
        if len(rows) < PAGE_SIZE:
            return

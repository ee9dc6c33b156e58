"""Addresses of commits by that of a git remote, as users and CI systems write them."""

import pytest

from kswatch.dashboard.config import DashboardConfig
from kswatch.dashboard.formatting.code_urls import commit_url, range_url, repository_address
from kswatch.errors import ConfigurationError

GOOD, BAD = "a" * 40, "b" * 40


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:owner/name.git", "https://github.com/owner/name"),
        ("github.com:owner/name", "https://github.com/owner/name"),
        ("ssh://git@git.example.org:2222/group/sub/name.git/", "https://git.example.org/group/sub/name"),
        ("https://user:token@gitlab.com/group/name.git", "https://gitlab.com/group/name"),
        ("https://oauth2:to@ken@git.example.org:8443/name", "https://git.example.org:8443/name"),
        ("http://[::1]:3000/owner/name.git", "http://[::1]:3000/owner/name"),
        ("git://host.example/name.git", "https://host.example/name"),
        ("https://host.example/a b/(c)", None),
        ("https://host.example/(c)?token=secret#part", "https://host.example/%28c%29"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("file:///srv/name.git", None),
        ("/srv/name.git", None),
        ("../name", None),
        ("C:\\code\\name", None),
        ("alias:owner/name", None),
        ('https://host.example"onclick="x/name', None),
        ("https://host.example", None),
        ("https://[host/name", None),
        ("", None),
    ],
)
def test_a_remote_has_the_web_address_of_its_host_without_credentials(
    remote: str, address: str | None
) -> None:
    assert repository_address(remote) == address


@pytest.mark.parametrize(
    ("repository", "commit", "between"),
    [
        ("https://github.com/o/n", "/commit/bbbbbbbbbbbb", "/compare/aaaaaaaaaaaa...bbbbbbbbbbbb"),
        ("https://gitlab.example/o/n", "/-/commit/bbbbbbbbbbbb", "/-/compare/aaaaaaaaaaaa...bbbbbbbbbbbb"),
        ("https://git.example/o/n", "/commit/bbbbbbbbbbbb", "/compare/aaaaaaaaaaaa...bbbbbbbbbbbb"),
        (
            "https://bitbucket.org/o/n",
            "/commits/bbbbbbbbbbbb",
            "/branches/compare/bbbbbbbbbbbb..aaaaaaaaaaaa",
        ),
    ],
)
def test_commits_and_ranges_have_the_form_of_their_host(repository: str, commit: str, between: str) -> None:
    assert commit_url(repository, BAD) == repository + commit
    assert range_url(repository, GOOD, BAD) == repository + between


@pytest.mark.parametrize("commit", [None, "", "HEAD", "abc", "../../x", "aaaaaaa\n", "A" * 40])
def test_what_is_no_commit_has_no_address(commit: str | None) -> None:
    assert commit_url("https://github.com/o/n", commit) is None
    assert range_url("https://github.com/o/n", commit, BAD) is None
    assert commit_url(None, BAD) is None


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "ftp://host/name",
        "git@github.com:owner/name.git",
        "https://user:secret@github.com/owner/name",
        "https://github.com",
        "https://github.com/owner/name?x=1",
    ],
)
def test_a_configured_address_that_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"dashboard\.repository_url must be") as refused:
        DashboardConfig(repository_url=url)
    assert "secret" not in str(refused.value)


def test_an_address_of_the_browser_s_bar_is_accepted() -> None:
    assert DashboardConfig(repository_url="https://github.com/owner/name/").repository_url

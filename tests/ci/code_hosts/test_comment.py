from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.comment import app, write_file
from kswatch.ci.code_hosts.change import CALM
from kswatch.ci.formats.comment import LARGEST_COMMENT, MARKER, comment, cut, fold
from kswatch.errors import ConfigurationError, FormatError, KswatchError, MeasurementError, UsageError
from tests.ci.code_hosts.host_api import TOKEN, HostApi

REGRESSED = comment("**kswatch gate** `a -> b`: REGRESSED", ("verdict",), [("slower +5.0 %",)])
BOT = "github-actions[bot]"


@pytest.fixture
def api():
    with HostApi().serving() as served:
        yield served


@pytest.fixture
def parts(tmp_path):
    folder = tmp_path / "comments" / "comment-static"
    folder.mkdir(parents=True)
    (folder / "static.md").write_text("")
    return folder


def github(api: HostApi, **changed: str) -> dict[str, str]:
    return {
        "GITLAB_CI": "",
        "GITHUB_ACTIONS": "true",
        "GITHUB_API_URL": api.url,
        "GITHUB_REF": "refs/pull/12/merge",
        "GITHUB_REPOSITORY": "example/kernels",
        "GITHUB_RUN_ID": "99",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_TOKEN": TOKEN,
    } | changed


def gitlab(api: HostApi) -> dict[str, str]:
    return {
        "GITHUB_ACTIONS": "",
        "GITLAB_CI": "true",
        "CI_API_V4_URL": f"{api.url}/api/v4",
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "12",
        "CI_PIPELINE_URL": "https://gitlab.com/example/-/pipelines/99",
        "GITLAB_TOKEN": TOKEN,
    }


def run(parts: Path, environment: dict[str, str], *expected: str) -> str:
    arguments = [part for name in expected for part in ("--expect", name)]
    result = CliRunner().invoke(app, [str(parts.parent), *arguments], env=environment)
    if isinstance(result.exception, KswatchError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def changes(api: HostApi) -> list[str]:
    return [f"{method} {path}" for method, path in api.requests if method != "GET"]


def test_nothing_is_written_on_a_calm_change(api, parts):
    assert run(parts, github(api)) == "nothing changed, and there is no earlier comment: none is written"
    assert changes(api) == []


def test_the_comment_is_written_once_and_then_updated_in_place(api, parts):
    (parts / "h100.md").write_text(REGRESSED)
    assert run(parts, github(api)) == "wrote a comment"
    assert run(parts, github(api)) == "the comment is up to date"
    (parts / "static.md").write_text(comment("**kswatch gate --static** changed", (), ()))
    assert run(parts, github(api)) == "updated the comment"
    (row,) = api.comments
    assert row["body"].count(MARKER) == 1 and "REGRESSED" in row["body"] and "--static" in row["body"]
    assert changes(api) == [
        "POST /repos/example/kernels/issues/12/comments",
        "PATCH /repos/example/kernels/issues/comments/1000",
    ]


def test_a_comment_whose_findings_have_gone_becomes_one_line(api, parts):
    row = api.add(BOT, REGRESSED)
    assert run(parts, github(api)) == "updated the comment"
    assert row["body"] == CALM and len(CALM.strip().splitlines()) == 3
    assert run(parts, github(api)) == "the comment is up to date"


def test_a_job_that_left_no_file_is_not_calm(api, parts):
    """Its set-up failed, its runner was lost, or its disk was full: an earlier finding must stay reported."""
    row = api.add(BOT, REGRESSED)
    assert run(parts, github(api), "static", "h100") == "updated the comment"
    assert "**h100** did not finish" in row["body"] and "nothing changed" not in row["body"]
    (parts / "h100.md").write_text("")
    run(parts, github(api), "static", "h100")
    assert row["body"] == CALM
    (parts / "h100.md").unlink()
    (parts / "static.md").unlink()
    parts.rmdir()
    parts.parent.rmdir()  # no job left one
    run(parts, github(api), "static")
    assert "**static** did not finish" in row["body"]


def test_without_expectations_a_missing_file_and_folder_change_nothing(api, parts):
    row = api.add(BOT, REGRESSED)
    for path, error in ((parts / "h100.md", ConfigurationError), (parts / "absent", UsageError)):
        result = CliRunner().invoke(app, [str(path)], env=github(api))
        assert isinstance(result.exception, error)
    assert row["body"] == REGRESSED and api.requests == []


def test_what_is_left_of_a_file_that_cannot_be_written_is_no_calm_comment(tmp_path, monkeypatch):
    def full_disk(path: Path, text: str, **_: object) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(ConfigurationError, match="No space left"):
        write_file(tmp_path / "gate.md", REGRESSED)
    assert not (tmp_path / "gate.md").exists()


def test_a_line_is_no_command_of_gitlab(api, parts):
    """GitLab runs `/close` at the start of a line with the rights of the token."""
    api.user = {"username": "project_7_bot", "login": "project_7_bot"}
    (parts / "h100.md").write_text(f"{REGRESSED}\n/close\n  /assign @ann\n1/2\n")
    run(parts, gitlab(api))
    assert api.comments[0]["body"].endswith("\n\\/close\n  \\/assign @ann\n1/2\n")


def test_a_comment_of_a_deleted_account_is_passed_over(api, parts):
    api.add("ghost", f"{MARKER} old").update(user=None)
    own = api.add(BOT, REGRESSED)
    run(parts, github(api))
    assert own["body"] == CALM


@pytest.mark.parametrize("answer", [{}, [1], None, "text", [{"body": MARKER, "user": {"login": BOT}}]])
def test_an_answer_of_another_form_is_one_sentence(api, parts, answer):
    api.answers = {"/comments": answer}
    with pytest.raises(MeasurementError, match=r"another form|without a number"):
        run(parts, github(api))
    assert changes(api) == []


def test_a_user_without_a_name_owns_no_comment(api, parts):
    api.add("", REGRESSED)
    api.answers = {"/user": {"name": "x"}}
    with pytest.raises(MeasurementError, match="name of the token's user"):
        run(parts, github(api))
    assert changes(api) == []


@pytest.mark.parametrize(
    "raw", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[", b"["]
)
def test_an_answer_that_is_no_http_or_no_json_is_one_sentence(api, parts, raw):
    api.raw = raw
    with pytest.raises(MeasurementError, match="gives no answer"):
        run(parts, github(api))


def test_only_the_comment_of_the_own_user_is_replaced(api, parts):
    others = [api.add("mallory", f"{MARKER} mine"), *(api.add("ann", "hello") for _ in range(120))]
    before = [row["body"] for row in others]
    own = api.add(BOT, REGRESSED)  # on the second page
    run(parts, github(api))
    assert own["body"] == CALM and [row["body"] for row in others] == before


def test_a_merge_request_on_gitlab_has_the_same_comment(api, parts):
    api.user = {"username": "project_7_bot", "login": "project_7_bot"}
    (parts / "h100.md").write_text(REGRESSED)
    assert run(parts, gitlab(api)) == "wrote a comment"
    (parts / "h100.md").write_text("")
    assert run(parts, gitlab(api)) == "updated the comment"
    assert changes(api) == [
        "POST /api/v4/projects/7/merge_requests/12/notes",
        "PUT /api/v4/projects/7/merge_requests/12/notes/1000",
    ]


@pytest.mark.parametrize("code", [403, 404])
def test_a_token_without_rights_is_one_sentence_and_nothing_is_written(api, parts, code):
    (parts / "h100.md").write_text(REGRESSED)
    api.status = code
    with pytest.raises(ConfigurationError, match=r"no right to comment .* `pull-requests: write`"):
        run(parts, github(api))
    assert changes(api) == [] and api.comments == []


def test_a_wrong_token_is_refused(api, parts):
    with pytest.raises(ConfigurationError, match="does not accept the token"):
        run(parts, github(api, GITHUB_TOKEN="x" * 20))


def test_a_host_with_an_error_is_no_success(api, parts):
    (parts / "h100.md").write_text(REGRESSED)
    api.status = 502
    with pytest.raises(MeasurementError, match="HTTP 502"):
        run(parts, github(api))


def test_a_redirect_takes_the_token_nowhere(api, parts):
    with HostApi().serving() as other:
        api.status, api.redirect_to = 307, other.url
        with pytest.raises(MeasurementError, match="HTTP 307"):
            run(parts, github(api))
        assert other.requests == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"GITHUB_TOKEN": ""}, "GITHUB_TOKEN is not set"),
        ({"GITHUB_TOKEN": "a\r\nHost: b"}, "GITHUB_TOKEN has another form"),
        ({"GITHUB_REF": "refs/heads/main"}, "names no pull request"),
        ({"GITHUB_REPOSITORY": "a/b/../c"}, "GITHUB_REPOSITORY has another form"),
        ({"GITHUB_API_URL": "http://example.org"}, "no https:// address"),
        ({"GITHUB_API_URL": "https://[::1"}, "no https:// address"),
        ({"GITHUB_API_URL": "https://"}, "no https:// address"),
        ({"GITHUB_API_URL": "https://example.org/\n"}, "no https:// address"),
        ({"GITHUB_ACTIONS": ""}, "no change to comment on"),
    ],
)
def test_a_job_without_a_change_or_a_token_is_refused(api, parts, changed, message):
    with pytest.raises(ConfigurationError, match=message):
        run(parts, github(api, **changed))
    assert api.requests == []


def test_missing_and_oversized_files_are_refused(api, parts):
    (parts / "static.md").write_text("x" * 1_000_001)
    with pytest.raises(FormatError, match="no comment of kswatch"):
        run(parts, github(api))
    (parts / "static.md").unlink()
    with pytest.raises(UsageError, match="holds no .md file"):
        run(parts, github(api))


def test_a_comment_over_the_limit_is_cut_at_a_line_with_a_link(api, parts):
    rows = "\n".join(f"| {number} | {'x' * 90} |" for number in range(2_000))
    (parts / "h100.md").write_text(f"{MARKER}\n\nREGRESSED\n\n{fold('all', rows)}\n")
    run(parts, github(api))
    body = api.comments[0]["body"]
    assert 60_000 < len(body) <= LARGEST_COMMENT
    assert body.count("<details>") == body.count("</details>") == 1
    assert body.endswith("[the whole result](https://github.com/example/kernels/actions/runs/99).\n")


def test_a_comment_of_folds_alone_stays_within_the_limit():
    text = cut("**headline**\n" + "<details>\n" * 30_000, LARGEST_COMMENT)
    assert text.startswith("**headline**\n<details>") and len(text) <= LARGEST_COMMENT
    assert text.count("<details>") == text.count("</details>") > 1_000


def test_a_text_without_line_feeds_is_cut_too():
    assert len(cut("x" * 100_000, LARGEST_COMMENT)) <= LARGEST_COMMENT


def test_the_table_shows_the_first_rows_and_folds_all():
    text = comment(
        "**headline**", ("verdict",), [(f"row {number}",) for number in range(7)], link="https://a.b"
    )
    shown, _, folded = text.partition("<details>")
    assert shown.startswith(f"{MARKER}\n\n**headline**\n\n| verdict |") and shown.count("| row") == 5
    assert folded.count("| row") == 7 and text.endswith("[the whole result](https://a.b)\n")


def test_the_make_target_of_the_workflow_runs_this_command():
    root = Path(__file__).parents[3]
    command = ["make", "-n", "comment", "EXPECT=static h100"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert '.venv/bin/kswatch comment comments --expect "static" --expect "h100"' in done.stdout

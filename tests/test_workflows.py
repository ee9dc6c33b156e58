"""The workflows are thin: each step is a known action or a make target, so all of it also runs at home."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PULL_REQUEST = ROOT / ".github/workflows/pull-request.yml"
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONS = (
    "actions/checkout@v4",
    "actions/setup-python@v5",
    "actions/upload-artifact@v4",
    "actions/download-artifact@v4",
    "pypa/gh-action-pypi-publish@release/v1",
)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def steps(path: Path) -> list[dict]:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_step_is_an_action_or_a_make_target(path: Path) -> None:
    for step in steps(path):
        if "uses" in step:
            assert step["uses"] in ACTIONS
            continue
        command, target = step["run"].split()[:2]
        assert command == "make" and target in targets(), step["run"]
        assert "${{" not in step["run"], "what an event says must not become part of a command"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_job_has_a_time_limit_and_reads_only(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    writing = [name for name, job in workflow["jobs"].items() if "permissions" in job]
    assert writing == {"pull-request": ["comment"], "release": ["publish"]}.get(path.stem, [])


def test_a_release_is_published_by_the_workflow_s_identity_and_only_what_was_checked() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]
    build, publish = jobs["build"]["steps"], jobs["publish"]
    assert [step["run"] for step in build if "run" in step] == ["make release-check"]
    assert publish["permissions"] == {"id-token": "write"} and publish["environment"]
    assert [step["uses"].split("@")[0] for step in publish["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]
    assert "secrets." not in str(jobs)
    assert publish["steps"][0]["with"] == {"name": "dist", "path": "dist"}
    assert build[-1]["with"]["name"] == "dist" and "with" not in publish["steps"][1]


def test_each_supported_python_runs_the_tests() -> None:
    jobs = yaml.safe_load(PULL_REQUEST.read_text(encoding="utf-8"))["jobs"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tested = jobs["test"]["strategy"]["matrix"]["python"]
    assert project["requires-python"] == f">={tested[0]}"
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    assert tested == named


def test_the_job_that_comments_expects_a_file_of_each_gate_and_ends_with_its_run() -> None:
    jobs = yaml.safe_load(PULL_REQUEST.read_text(encoding="utf-8"))["jobs"]
    expected = jobs["comment"]["steps"][-1]["env"]["EXPECT"]
    labels = "fromJSON(vars.KSWATCH_GPU_RUNNERS || '[]')"
    assert expected == f"static ${{{{ join({labels}, ' ') }}}}"
    assert jobs["measured"]["strategy"]["matrix"]["runner"] == f"${{{{ {labels} }}}}"
    assert jobs["comment"]["if"].startswith("!cancelled()"), "a cancelled run has no result"
    gitlab = yaml.safe_load((ROOT / "ci/gitlab.yml").read_text(encoding="utf-8"))
    names = gitlab.pop("comment")["variables"]["EXPECT"].split()
    assert {f"comments/{name}.md" for name in names} == {
        job["variables"]["COMMENT"] for job in gitlab.values()
    }


def test_the_job_that_may_comment_runs_the_code_of_the_base_and_never_for_a_fork() -> None:
    document = yaml.safe_load((ROOT / ".github/workflows/pull-request.yml").read_text(encoding="utf-8"))
    job = document["jobs"]["comment"]
    assert job["permissions"] == {"contents": "read", "pull-requests": "write"}
    checkout = job["steps"][0]["with"]
    assert checkout["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert checkout["persist-credentials"] is False
    assert "head.repo.full_name == github.repository" in job["if"] and "self-hosted" not in job["runs-on"]
    written = {step["env"]["COMMENT"] for step in steps(PULL_REQUEST) if "COMMENT" in step.get("env", {})}
    assert written == {"comments/static.md", "comments/${{ matrix.runner }}.md"}


@pytest.mark.parametrize("job", yaml.safe_load((ROOT / "ci/gitlab.yml").read_text(encoding="utf-8")).items())
def test_the_workflow_for_gitlab_runs_make_targets_only(job: tuple[str, dict]) -> None:
    commands = job[1]["script"]
    assert all(line.split()[0] == "make" and line.split()[1] in targets() for line in commands)
    assert {"timeout", "rules"} <= job[1].keys()


def test_the_gates_see_the_history_that_they_compare_with() -> None:
    for step in steps(ROOT / ".github/workflows/pull-request.yml"):
        if step.get("uses") == "actions/checkout@v4":
            assert step["with"]["fetch-depth"] == 0


@pytest.mark.skipif(importlib.util.find_spec("check_jsonschema") is None, reason="needs check-jsonschema")
def test_the_workflows_are_what_github_reads() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *map(str, FILES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_readme_of_ci_shows_workflows_of_ten_lines_that_load() -> None:
    text = (ROOT / "ci/README.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(shown) == 2
    for workflow in shown:
        assert len(workflow.strip().splitlines()) <= 10
        for job in yaml.safe_load(workflow)["jobs"].values():
            runs = [step["run"] for step in job["steps"] if "run" in step]
            assert runs and all(
                word in targets() for run in runs for word in run.split() if word in ("gate", "nightly")
            )


CONTEXTS = {"vars", "secrets", "matrix", "github"}
"""What an expression of these workflows may speak of."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_expression_speaks_of_what_there_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    for expression in re.findall(r"\$\{\{(.*?)\}\}", text):
        names = re.findall(r"(?<![\w.'])([a-z]+)\.([\w.]+)", expression)
        assert {context for context, _ in names} <= CONTEXTS, expression
    for job in jobs.values():
        asked = set(re.findall(r"matrix\.(\w+)", str(job)))
        assert asked == set(job.get("strategy", {}).get("matrix", {})), "each dimension of the matrix is used"
        assert set(job.get("needs", ())) <= set(jobs)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_runner_of_one_s_own_computes_nothing_of_a_stranger(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    events = workflow[True]  # YAML 1.1 reads the key `on` so
    for job in workflow["jobs"].values():
        if "pull_request" in events and "self-hosted" in str(job["runs-on"]):
            assert "head.repo.full_name == github.repository" in job["if"]
        uses_secrets = "secrets." in str(job)
        assert not (uses_secrets and "pull_request" in events), "a pull request sees no secret"


def test_the_night_of_the_workflow_is_a_time_that_comes() -> None:
    from datetime import UTC, datetime

    from apscheduler.triggers.cron import CronTrigger

    (schedule,) = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text())[True]["schedule"]
    assert CronTrigger.from_crontab(schedule["cron"], UTC).get_next_fire_time(None, datetime.now(UTC))

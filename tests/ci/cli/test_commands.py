from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from kswatch.ci.check import judge
from kswatch.ci.cli.check import app
from kswatch.ci.config import CiConfig
from kswatch.errors import KswatchError
from tests.ci.formats.junit_schema import assert_junit
from tests.ci.nights import PROBLEMS, START, Nights
from tests.kswatch.sample_services import sample_services

GLOSSARY = {"alert", "device", "state", "verdict", "cause", "metric", "implementation", "patterns"}


@pytest.fixture
def run(store):
    """Runs a command of the ci folder on the store, without alerts on missing data."""
    return runner(store, CiConfig(silent_hours=1e6))


@pytest.fixture
def run_now(store):
    """The same by the usual configuration: the nights are of long ago."""
    return runner(store, CiConfig())


def runner(store, config: CiConfig):
    def command(*arguments: str):
        context = sample_services(str(store.engine.url), config)
        result = CliRunner().invoke(app, list(arguments), obj=context)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return command


@pytest.fixture
def regressed(nights):
    nights.quiet(6)
    nights.night({"fused": 1.2})


@pytest.fixture
def checked(store, shared):
    """The same after `kswatch check`: alert 1 is open."""

    def write(into):
        nights = Nights(into)
        nights.quiet(6)
        nights.night({"fused": 1.2})
        judge(into, None, CiConfig(), now=START)

    shared.fill(store, "a regression that was judged", write)


def test_check_exits_1_on_a_regression_and_0_on_a_quiet_night(run, nights):
    nights.quiet(6)
    assert run("check").exit_code == 0
    nights.night({"fused": 1.2})
    assert run("check").exit_code == 1


def test_check_json_is_one_document(run, regressed):
    result = run("check", "--json")
    rows = json.loads(result.stdout)
    assert result.exit_code == 1
    assert sum(row["verdict"] == "slower" for row in rows) == 12
    assert json.loads(run("check", "--format", "json").stdout)[0]["run"] == 7


@pytest.mark.parametrize("format", ["text", "json", "junit", "markdown", "github"])
def test_every_format_of_a_check_shows_missing_data(run_now, nights, format, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    nights.quiet(6)
    result = run_now("check", "--format", format)
    assert result.exit_code == 0 and "Tesla Planted stopped reporting: no nightly run since" in result.stdout
    if format == "json":
        (row,) = [one for one in json.loads(result.stdout) if one["cause"] == "silence"]
        assert (row["verdict"], row["alert"], row["state"], row["run"]) == ("silent", 1, "open", 6)
        assert (row["device"], row["model"]) == ("GPU-1111", "Tesla Planted")
    if format == "junit":
        assert_junit(result.stdout, tests=2, skipped=1)
    if format == "github":
        assert "::warning title=kswatch alert 1::Tesla Planted stopped reporting" in result.stdout


def test_a_muted_missing_data_alert_is_no_annotation(run_now, nights):
    nights.quiet(6)
    run_now("check")
    run_now("alerts", "mute", "1", "--until", "2999-01-01", "--reason", "it is being moved")
    assert "::warning" not in run_now("check", "--format", "github").stdout


def test_check_of_an_empty_store_names_the_next_command(run):
    result = run("check")
    assert result.exit_code == 0 and "kswatch nightly" in result.stdout
    assert json.loads(run("check", "--json").stdout) == []


def test_check_markdown_and_github_formats(run, regressed, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert run("check", "--format", "markdown").stdout.startswith("# kswatch check")
    assert not (tmp_path / "summary.md").exists()
    assert "::error title=kswatch alert 1::" in run("check", "--format", "github").stdout
    assert (tmp_path / "summary.md").read_text().startswith("# kswatch check")


def test_check_junit_fails_where_the_check_does(run, regressed):
    assert_junit(run("check", "--format", "junit").stdout, failures=2)
    run("alerts", "resolve", "1")
    assert_junit(run("check", "--format", "junit").stdout, failures=0)


def test_the_precision_of_alerts_is_reported(run, checked):
    assert "no confirmed alert has been reviewed" in run("alerts", "precision").stdout
    run("alerts", "false-alarm", "1", "--reason", "the cooler was blocked")
    assert json.loads(run("alerts", "precision", "--json").stdout)["precision"] == 0.0


def test_check_of_one_device_takes_its_model_name(run, regressed):
    assert run("check", "--device", "tesla_planted").exit_code == 1
    with pytest.raises(KswatchError, match="no device"):
        run("check", "--device", "other")


def test_check_of_one_run_judges_that_run(run, regressed):
    assert run("check", "--run", "6").exit_code == 0
    with pytest.raises(KswatchError, match="omit --device"):
        run("check", "--run", "6", "--device", "cpu")


def test_report_is_markdown_and_exits_0(run, regressed):
    result = run("report")
    assert result.exit_code == 0 and result.stdout.startswith("# kswatch check")
    assert "REGRESSED" in run("report", "--text").stdout


def test_alerts_json_has_the_words_of_the_glossary(run, checked):
    (row,) = json.loads(run("alerts", "--json").stdout)
    assert row.keys() >= GLOSSARY
    assert set(row["patterns"]) == {problem.pattern for problem in PROBLEMS}
    assert json.loads(run("alerts", "list", "--json").stdout) == [row]


def test_an_alert_is_shown_with_its_cells_and_events(run, checked):
    page = run("alerts", "show", "1").stdout
    assert "first bad run 7, last good run 6" in page
    assert "fused latency_ms 1,48,48,1 batch 1024 fp32 batch_last" in page
    assert "opened" in page
    assert json.loads(run("alerts", "show", "1", "--json").stdout)["events"][0]["action"] == "opened"


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        (("ack", "1"), "acknowledged"),
        (("assign", "1", "--to", "ann"), "acknowledged"),
        (("mute", "1", "--until", "2999-01-01", "--reason", "known"), "muted"),
        (("accept", "1", "--reason", "the price of a fix"), "accepted"),
        (("false-alarm", "1", "--reason", "blocked cooler"), "false_alarm"),
        (("resolve", "1"), "resolved"),
    ],
)
def test_a_decision_on_an_alert_records_user_and_reason(run, checked, arguments, state):
    result = run("alerts", *arguments, "--who", "ann")
    assert f"alert 1 is {state}" in result.stdout
    event = json.loads(run("alerts", "show", "1", "--json").stdout)["events"][-1]
    assert (event["who"], event["to_state"]) == ("ann", state)


def test_an_ended_alert_is_listed_on_request_and_can_be_reopened(run, checked):
    run("alerts", "resolve", "1")
    assert run("alerts").stdout.splitlines() == [
        "no alerts",
        "precision: 1 of 1 confirmed alerts were real (100 %), 0 undecided",
    ]
    assert "resolved" in run("alerts", "--all").stdout
    assert "is open" in run("alerts", "reopen", "1", "--reason", "too early").stdout


def test_a_decision_on_an_alert_that_changed_meanwhile_is_refused(run, checked):
    run("alerts", "ack", "1", "--seen-version", "1")
    with pytest.raises(KswatchError, match="has changed"):
        run("alerts", "resolve", "1", "--seen-version", "1")


def test_an_unknown_alert_is_refused(run, regressed):
    with pytest.raises(KswatchError, match="no alert 9"):
        run("alerts", "show", "9")

"""Output and exit codes of the commands, with a scripted engine."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from kswatch.db.queries import basic as queries
from kswatch.errors import MeasurementError, UsageError
from kswatch.profiler.cli.profile import app
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.planning.suites import SUITES
from kswatch.profiler.runs import session
from kswatch.profiler.signals import Stopped
from tests.kswatch.sample_services import sample_services

AD_HOC = ["profile", "--device", "cpu", "--pattern", "2,8,8,2", "--batch", "16"]


@pytest.fixture
def run_command(store, scripted, monkeypatch):
    """Run a command line as kswatch/cli.py would, with a judgement of choice."""
    monkeypatch.setattr(session, "local_engine", lambda *of, foreign: scripted.make_engine(*of))

    def run(*arguments, config=ProfilerConfig(), exit_code=0):  # noqa: B008 (frozen)
        obj = sample_services(
            str(store.engine.url),
            config,
            judge=lambda store, run_id: SimpleNamespace(exit_code=exit_code),
            notify=lambda store: [],
            request_confirmation=lambda store, run_id: None,
            check_missing_data=lambda store: None,
            bisect_alerts=lambda store, devices, stop, is_wanted: None,
        )
        return CliRunner().invoke(app, arguments, obj=obj)

    return run


def test_profile_json_is_the_only_output_on_stdout_and_has_the_agreed_keys(run_command):
    done = run_command(*AD_HOC, "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 0
    assert {"run", "device", "cells", "by_status", "seconds"} <= report.keys()
    assert (report["run"], report["cells"], report["by_status"]) == (1, 16, {"ok": 16})
    assert "run 1: ad_hoc: 2 problems, 16 cells" in done.stderr


def test_profile_shows_fused_against_the_fastest_baseline(run_command):
    shown = run_command(*AD_HOC, "--layout", "batch_last").stdout
    assert "2,8,8,2" in shown
    assert "bmm 2 ms" in shown
    assert "2.00×" in shown


def test_profile_records_the_chosen_filters(run_command, store):
    run_command("profile", "smoke", "--precision", "bf16", "--implementation", "csr", "--json")
    assert queries.run(store, 1).arguments == {"precision": ["bf16"], "implementation": ["csr"]}
    assert {row.implementation for row in queries.measurements(store, 1)} == {"csr"}


def test_an_interrupted_profile_exits_130_and_shows_how_to_resume(run_command, scripted):
    def stop(task):
        raise Stopped

    scripted.script = stop
    stopped = run_command(*AD_HOC)
    assert stopped.exit_code == 130
    assert "kswatch profile --resume 1" in stopped.stdout
    scripted.script = lambda task: None
    assert json.loads(run_command("profile", "--resume", "1", "--json").stdout)["state"] == "finished"


def test_an_incorrect_result_exits_1_after_everything_was_recorded(run_command, scripted, store):
    scripted.status = "incorrect"
    assert run_command(*AD_HOC, "--json").exit_code == 1
    assert queries.run(store, 1).by_status == {"incorrect": 16}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile", "nightli"], "choose from smoke"),
        (["profile"], "needs a pattern"),
        (["profile", "smoke", "--budget", "soon"], "90s, 8m, 3h"),
        (["profile", "smoke", "--budget", "0m"], "90s, 8m, 3h"),
        (["profile", "--resume", "--batch", "3"], "omit the other options"),
        (["profile", "--resume", "smoke"], "number of a run"),
        (["profile", "--resume", "²"], "number of a run"),
        (["profile", "--resume", "9" * 30], "number of a run"),
        (["profile", "--resume", "99"], "no run 99"),
        (["profile", "smoke", "--precision", "fp4"], "fp32, tf32, bf16, fp16"),
        (["compare", "1", "2"], "no run 1"),
    ],
)
def test_invalid_arguments_are_one_sentence_with_the_cure(run_command, arguments, message):
    error = run_command(*arguments).exception
    assert isinstance(error, UsageError)
    assert message in str(error)


def test_a_batch_of_0_is_refused_with_the_range(run_command):
    done = run_command("profile", "smoke", "--batch", "0")
    assert done.exit_code == 2 and "equal to 1" in done.stderr


def test_the_help_of_profile_names_every_suite(run_command):
    shown = run_command("profile", "--help").stdout
    assert all(f"{suite.name} " in shown for suite in SUITES)


def test_an_absent_device_is_a_measurement_error(run_command):
    assert isinstance(run_command("profile", "smoke", "--device", "cuda").exception, MeasurementError)


def test_nightly_measures_and_judges_the_cpu_and_names_the_next_commands(run_command, store):
    done = run_command("nightly", config=ProfilerConfig(devices=("cpu",)), exit_code=1)
    assert done.exit_code == 0, "a finding is no failure unless asked for"
    assert "kswatch dashboard" in done.stdout
    assert (queries.run(store, 1).suite, queries.run(store, 1).kind) == ("smoke", "nightly")


def test_nightly_with_fail_exits_1_on_a_finding(run_command):
    assert run_command("nightly", "--device", "cpu", "--fail", exit_code=1).exit_code == 1
    assert run_command("nightly", "--device", "cpu", "--fail", exit_code=0).exit_code == 0


def test_an_absent_device_does_not_stop_the_night_of_the_others(run_command):
    done = run_command("nightly", "--device", "GPU-elsewhere", "--device", "cpu", "--json")
    absent, present = json.loads(done.stdout)
    assert done.exit_code == 0
    assert "GPU-elsewhere" in absent["error"]
    assert present["run"]["state"] == "finished"


def test_nightly_exits_3_when_nothing_was_measured(run_command, scripted, store):
    def lost(task):
        raise MeasurementError("the device is lost")

    scripted.script = lost
    done = run_command("nightly", "--device", "cpu", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)[0]["error"] == "the device is lost"


def test_a_quiet_night_logs_its_device_and_run_and_prints_nothing(run_command, store):
    done = run_command("nightly", "--device", "cpu", "--quiet")
    uuid = queries.run(store, 1).device_uuid
    assert (done.exit_code, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    begun = f"INFO kswatch.profiler.runs.progress [{uuid}, run 1] run 1: smoke"
    assert any(begun in line for line in lines)
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (INFO|WARNING) kswatch\.", line) for line in lines)
    assert not any("DEBUG" in line for line in lines)


def test_a_quiet_night_with_json_gives_one_document_on_stdout_and_log_lines_on_stderr(run_command):
    options = ("--json", "--log-format", "json", "--verbose")
    done = run_command("nightly", "--device", "cpu", "--device", "GPU-elsewhere", *options)
    assert {row["device"]: bool(row["error"]) for row in json.loads(done.stdout)}["GPU-elsewhere"]
    rows = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"DEBUG", "INFO", "ERROR"} <= {row["level"] for row in rows}
    assert [row["message"] for row in rows if row["device"] == "GPU-elsewhere"]


def test_doctor_gives_a_cure_for_each_failure(run_command):
    done = run_command("doctor", "--json", config=ProfilerConfig(devices=("GPU-elsewhere",)))
    ill = {check["name"]: check for check in json.loads(done.stdout) if not check["ok"]}
    assert "profiler.devices" in ill["nightly device"]["cure"]

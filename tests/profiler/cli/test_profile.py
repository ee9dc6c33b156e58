"""What the commands print and how they exit; the engine is scripted."""

from __future__ import annotations

import json
from functools import partial
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

AD_HOC = ["profile", "--device", "cpu", "--pattern", "2,8,8,2", "--batch", "16"]


@pytest.fixture
def run_command(store, scripted, monkeypatch):
    """Run a command line as kswatch/cli.py would, with a judgement of choice."""
    monkeypatch.setattr(
        session, "Surroundings", partial(session.Surroundings, make_engine=scripted.make_engine)
    )

    def run(*arguments, config=ProfilerConfig(), exit_code=0):  # noqa: B008 (frozen)
        obj = {
            "config": {"profiler": config, "ci": None},
            "database_url": str(store.engine.url),
            "judge": lambda *_, **__: SimpleNamespace(exit_code=exit_code),
            "notify": lambda store: [],
            "ask_again": lambda store, run_id, config: None,
            "look_around": lambda store, config: None,
        }
        return CliRunner().invoke(app, arguments, obj=obj)

    return run


def test_profile_gives_scripts_the_contracts_keys_alone_on_stdout(run_command):
    done = run_command(*AD_HOC, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 0
    assert {"run", "device", "cells", "by_status", "seconds"} <= told.keys()
    assert (told["run"], told["cells"], told["by_status"]) == (1, 16, {"ok": 16})
    assert "run 1: ad_hoc: 2 problems, 16 cells" in done.stderr


def test_profile_shows_people_fused_against_the_fastest_baseline(run_command):
    shown = run_command(*AD_HOC, "--layout", "batch_last").stdout
    assert "2,8,8,2" in shown
    assert "bmm 2 ms" in shown
    assert "2.00×" in shown


def test_profile_records_what_was_chosen(run_command, store):
    run_command("profile", "smoke", "--precision", "bf16", "--implementation", "csr", "--json")
    assert queries.run(store, 1).arguments == {"precision": ["bf16"], "implementation": ["csr"]}
    assert {row.implementation for row in queries.measurements(store, 1)} == {"csr"}


def test_an_interrupted_profile_exits_130_and_says_how_to_go_on(run_command, scripted):
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
    ("arguments", "said"),
    [
        (["profile", "nightli"], "choose from smoke"),
        (["profile"], "needs a pattern"),
        (["profile", "smoke", "--budget", "soon"], "90s, 8m, 3h"),
        (["profile", "smoke", "--budget", "0m"], "90s, 8m, 3h"),
        (["profile", "--resume", "--batch", "3"], "leave the other options away"),
        (["profile", "--resume", "smoke"], "number of a run"),
        (["profile", "--resume", "99"], "no run 99"),
        (["profile", "smoke", "--precision", "fp8"], "fp32, tf32, bf16, fp16"),
        (["profile", "smoke", "--batch", "0"], "batch 0"),
        (["compare", "1", "2"], "no run 1"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_with_the_cure(run_command, arguments, said):
    error = run_command(*arguments).exception
    assert isinstance(error, UsageError)
    assert said in str(error)


def test_the_help_of_profile_names_every_suite(run_command):
    shown = run_command("profile", "--help").stdout
    assert all(f"{suite.name} " in shown for suite in SUITES)


def test_an_absent_device_is_a_measurement_error(run_command):
    assert isinstance(run_command("profile", "smoke", "--device", "cuda").exception, MeasurementError)


def test_nightly_measures_the_cpu_judges_and_says_what_to_open(run_command, store):
    done = run_command("nightly", config=ProfilerConfig(devices=("cpu",)), exit_code=1)
    assert done.exit_code == 0, "a finding is no failure unless asked for"
    assert "kswatch dashboard" in done.stdout
    assert (queries.run(store, 1).suite, queries.run(store, 1).kind) == ("smoke", "nightly")


def test_nightly_fails_on_a_finding_where_that_is_asked_for(run_command):
    assert run_command("nightly", "--device", "cpu", "--fail", exit_code=1).exit_code == 1
    assert run_command("nightly", "--device", "cpu", "--fail", exit_code=0).exit_code == 0


def test_a_device_that_is_away_does_not_stop_the_night_of_the_others(run_command):
    done = run_command("nightly", "--device", "GPU-elsewhere", "--device", "cpu", "--json")
    away, here = json.loads(done.stdout)
    assert done.exit_code == 0
    assert "GPU-elsewhere" in away["error"]
    assert here["run"]["state"] == "finished"


def test_nightly_exits_3_when_nothing_was_measured(run_command, scripted, store):
    def lost(task):
        raise MeasurementError("the device is lost")

    scripted.script = lost
    done = run_command("nightly", "--device", "cpu", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)[0]["error"] == "the device is lost"


def test_doctor_names_the_cure_of_what_is_ill(run_command):
    done = run_command("doctor", "--json", config=ProfilerConfig(devices=("GPU-elsewhere",)))
    ill = {check["name"]: check for check in json.loads(done.stdout) if not check["ok"]}
    assert "kswatch.profiler.devices.discovery" in ill["nightly device"]["cure"]

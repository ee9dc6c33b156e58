from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kswatch.db.cli import store as store_commands
from kswatch.db.config import DbConfig
from kswatch.db.interchange import recorded_runs
from kswatch.db.interchange.importing import export_runs
from kswatch.db.migrations.revisions import HEAD
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.store import Store
from kswatch.errors import KswatchError, StoreError, UsageError
from tests.db.sample_records import GPU, measured, night, problem, run_record
from tests.kswatch.sample_services import sample_services

ENERGY = (
    "pattern,batch-size,algo,bs_position,precision,device_name,median,nruns\n"
    '"[[1, 48, 48, 2]]",25088,kernel,bs_last,fp32,My_GPU,6012.5,512\n'
    '"[[1, 48, 48, 2]]",25088,monarch,bs_last,fp32,My_GPU,oops,512\n'
)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "kswatch.db"


@pytest.fixture
def store(path):
    opened = Store.open(f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.fixture
def predicted() -> list[int]:
    return []


@pytest.fixture
def kswatch(path, predicted):
    """Runs a command of this folder and gives what it wrote; expected failures are raised."""
    app = typer.Typer()
    app.add_typer(store_commands.app)

    @app.callback()
    def prepare(ctx: typer.Context) -> None:
        ctx.obj = sample_services(
            f"sqlite:///{path}",
            DbConfig(request_cells=500),
            predict=lambda store, run_id: predicted.append(run_id),
            request_size=lambda suite, arguments: (1_000 if suite == "paper" else 10, None),
        )

    def run(*arguments: object):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if isinstance(result.exception, KswatchError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture
def energy_csv(tmp_path) -> Path:
    path = tmp_path / "energy.csv"
    path.write_text(ENERGY)
    return path


def test_import_prints_its_contract_as_json_and_records_predictions(kswatch, energy_csv, predicted):
    printed = json.loads(kswatch("import", energy_csv, "--json").stdout)
    counts = {name: printed[name] for name in ("read", "recorded", "implausible", "rejected", "duplicates")}
    assert counts == {"read": 2, "recorded": 1, "implausible": 0, "rejected": 1, "duplicates": 0}
    assert printed["rejections"] == [
        {"file": str(energy_csv), "line": 3, "reason": "median 'oops' is not a number"}
    ]
    assert predicted == printed["runs"] == [1]


def test_import_prints_rejections_on_stderr(kswatch, energy_csv):
    result = kswatch("import", energy_csv)
    assert result.stderr == f"{energy_csv} line 3: median 'oops' is not a number\n"
    assert "read 2, recorded 1, implausible 0, rejected 1, duplicates 0" in result.stdout


def test_several_files_are_counted_together(kswatch, energy_csv):
    printed = json.loads(kswatch("import", energy_csv, energy_csv, "--json").stdout)
    assert (printed["read"], printed["recorded"], printed["duplicates"], printed["rejected"]) == (4, 1, 1, 2)


@pytest.fixture
def recorded(tmp_path, new_store, monkeypatch) -> Path:
    """A folder of recorded runs with one night of a GPU."""
    folder = tmp_path / "recorded"
    folder.mkdir()
    (folder / "README.md").write_text("# Recorded runs")
    theirs = new_store()
    night(theirs, {"fused": 1.0, "bmm": 2.0}, device=GPU)
    export_runs(theirs, folder / "vit_s16.jsonl.gz", "jsonl")
    monkeypatch.setattr(recorded_runs, "FOLDER", folder)
    return folder


def test_recorded_runs_are_imported_once_and_enter_no_trend(kswatch, store, recorded, predicted):
    printed = json.loads(kswatch("import", "--recorded", "--json").stdout)
    assert (printed["read"], printed["recorded"], printed["runs"]) == (2, 2, [1])
    assert "duplicates 2" in kswatch("import", "--recorded").stdout
    (run,) = queries.runs(store)
    assert (run.device_uuid, run.origin) == (GPU.uuid, "imported")
    assert predicted == [1]
    assert queries.summaries(store) == []
    assert "fused wins 1 of 1 problems" in kswatch("summary").stdout


def test_without_recorded_runs_one_sentence_says_so(kswatch, store, recorded):
    (recorded / "vit_s16.jsonl.gz").unlink()
    result = kswatch("import", "--recorded")
    assert (result.stdout, result.stderr) == ("", f"{recorded_runs.NO_RECORDED_RUNS}\n")
    assert queries.runs(store) == []


@pytest.mark.parametrize("arguments", [(), ("runs.csv", "--recorded")])
def test_an_import_is_of_files_or_of_recorded_runs(kswatch, arguments):
    with pytest.raises(UsageError, match="files, or --recorded"):
        kswatch("import", *arguments)


def test_the_shipped_folder_of_recorded_runs_is_found():
    assert (recorded_runs.FOLDER / "README.md").is_file()


def test_summary_prints_its_contract_as_json(kswatch, store):
    night(store, {"fused": 1.0, "bmm": 2.0, "dense": 4.0})
    printed = json.loads(kswatch("summary", "--json").stdout)
    contract = ("problems", "fused_wins", "median_ratio", "median_speedup", "geomean_speedup", "left_out")
    assert [printed[name] for name in contract] == [1, 1, 0.5, 2.0, 2.0, 0]
    printed = json.loads(kswatch("summary", "--json", "--baselines", "dense", "--precision", "fp32").stdout)
    assert printed["median_speedup"] == 4.0


def test_summary_prints_the_reasons_of_left_out_problems(kswatch, store):
    night(store, {"bmm": 2.0})
    printed = kswatch("summary").stdout
    assert "fused wins 0 of 0 problems, 1 left out" in printed
    assert "left out: 1 (fused: no row)" in printed


def test_summary_names_the_set_the_rivals_and_the_speed_of_light(kswatch, store):
    run_id = store.begin_run(run_record(libraries={"compiled": {"torch": "2.13.0"}}))
    rows = [measured(problem(), name, time) for name, time in (("bmm", 2.0), ("compiled", 0.5))]
    rows.append(measured(problem(), "fused", 1.0, floor_ms=1.5, floor_ratio=1.5))
    rows.append(measured(problem(), "triton", status="unsupported", reason="not installed: pip install x"))
    store.record_problem(run_id, rows)
    store.finish_run(run_id)
    assert kswatch("summary").stdout.splitlines() == [
        "Made-up CPU (cpu-made-up), latency, against expert: bmm, compiled",
        "rivals there: compiled (torch 2.13.0); "
        "not there: cutensor (not measured), lazylinop (not measured), triton (not installed)",
        "fused wins 0 of 1 problems, 0 left out",
        "median fused/best 2.0000, median speedup 0.5000, geometric mean 0.5000",
        f"speed of light in run {run_id} (floor / measured time of fused):",
        "  fp32 batch_last: median 150.0 %, worst 150.0 % of 1 problems",
        "    1 of 1 problems are faster than the floor: 1 since neither cache nor clock explains it: the "
        "floor counts more bytes or flops than were needed, or the canaries were slower than the machine "
        "(disturbed, or a library of narrower instructions)",
    ]
    printed = json.loads(kswatch("summary", "--baselines", "all", "--json").stdout)
    assert (printed["baseline_set"], printed["median_speedup"], printed["rivals"]) == ("all", 2.0, {})
    assert printed["rivals_missing"]["triton"] == "not installed: pip install x"
    assert printed["rivals_missing"]["compiled"] == "not in this set"
    (light,) = printed["speed_of_light"]
    assert (light["median"], light["worst"], light["over_one_reasons"]) == (1.5, 1.5, {"counting": 1})


def test_summary_of_several_devices_needs_a_device(kswatch, store):
    night(store, {"fused": 1.0})
    night(store, {"fused": 1.0}, device=GPU)
    with pytest.raises(UsageError, match="name one with --device"):
        kswatch("summary")


def test_reading_commands_create_no_store(kswatch, path):
    for command in (["summary"], ["runs"], ["db", "stats"], ["export", "--all", "x.jsonl"]):
        with pytest.raises(StoreError, match="does not exist"):
            kswatch(*command)
    assert not path.exists()


def test_runs_lists_the_newest_first(kswatch, store):
    assert "no runs yet; `kswatch nightly`" in kswatch("runs").stdout
    for device in (GPU, GPU):
        night(store, {"fused": 1.0}, device=device)
    printed = json.loads(kswatch("runs", "--json", "--device", "cuda", "--limit", "1").stdout)
    assert [(run["run"], run["device"], run["by_status"]) for run in printed] == [(2, GPU.uuid, {"ok": 1})]
    assert printed[0]["started_at"] == "2026-03-01T12:00:00Z"
    assert "Made-up GPU" in kswatch("runs").stdout


def test_runs_are_excluded_included_and_noted(kswatch, store):
    night(store, {"fused": 1.0})
    kswatch("runs", "exclude", 1, "--reason", "fan was broken", "--who", "me")
    assert queries.run(store, 1).excluded
    kswatch("runs", "include", 1, "--reason", "was good", "--who", "me")
    kswatch("runs", "note", 1, "new driver", "--who", "me")
    assert not queries.run(store, 1).excluded
    assert [event.action for event in queries.run_events(store, 1)] == ["exclude", "include", "note"]


@pytest.mark.parametrize("name", ["run.jsonl", "run.csv", "run.jsonl.gz", "run.csv.gz"])
def test_an_export_is_imported_by_another_store(kswatch, store, tmp_path, path, name):
    night(store, {"fused": 1.0, "bmm": 2.0})
    printed = json.loads(kswatch("export", "--run", 1, tmp_path / name, "--json").stdout)
    assert printed["measurements"] == 2
    store.close()
    path.unlink()
    printed = json.loads(kswatch("import", tmp_path / name, "--json").stdout)
    assert printed["recorded"] == 2
    assert json.loads(kswatch("summary", "--json").stdout)["median_speedup"] == 2.0


def test_export_takes_the_runs_of_one_device(kswatch, store, tmp_path):
    night(store, {"fused": 1.0})
    night(store, {"fused": 1.0}, device=GPU)
    assert "1 measurements" in kswatch("export", "--device", "cpu", tmp_path / "cpu.jsonl").stdout
    with pytest.raises(UsageError, match="choose what to export"):
        kswatch("export", tmp_path / "cpu.jsonl")


def test_a_run_is_requested_listed_and_cancelled(kswatch):
    number = json.loads(kswatch("request", "smoke", "--pattern", "6,64,64,1", "--who", "me", "--json").stdout)
    assert (number["request"], number["state"], number["arguments"]) == (
        1,
        "queued",
        {"pattern": ["6,64,64,1"]},
    )
    assert (
        "request 1: smoke on cpu, queued, 0 of 10 cells, requested by me"
        in kswatch("request", "--list").stdout
    )
    kswatch("request", "--cancel", 1, "--who", "you", "--why", "wrong device")
    (found,) = json.loads(kswatch("request", "--list", "--json").stdout)
    assert (found["state"], found["message"]) == ("cancelled", "cancelled by you: wrong device")
    with pytest.raises(UsageError, match="name a suite"):
        kswatch("request")


def test_a_run_is_requested_again_by_its_number(kswatch, store):
    run_id = night(store, {"fused": 1.0})
    number = json.loads(kswatch("request", "--like", run_id, "--why", "was that noise?", "--json").stdout)
    assert (number["suite"], number["device"]) == ("smoke", "cpu-made-up")
    assert number["arguments"] == {"precision": ["fp32"]}
    with pytest.raises(UsageError, match="omit suite and filters"):
        kswatch("request", "smoke", "--like", run_id)
    assert "cancelled by you" in kswatch("cancel", number["request"], "--who", "you").stdout


def test_the_limits_of_a_request_are_configurable(kswatch):
    with pytest.raises(UsageError, match="1,000 cells are more than one request may have .500."):
        kswatch("request", "paper")
    assert json.loads(kswatch("request", "--pattern", "6,64,64,1", "--json").stdout)["suite"] == "ad_hoc"


def test_a_run_in_progress_shows_its_remaining_time(kswatch, store):
    number = requests.submit(store, "smoke", "cpu", asked_by="me")
    requests.take(store, number)
    store.begin_run(run_record(request_id=number))
    requests.record_progress(store, number, 5, 10, seconds_left=90.0)
    assert json.loads(kswatch("runs", "--json").stdout)[0]["seconds_left"] == 90.0
    assert "about 1.5 minutes left" in kswatch("request", "--list").stdout


def test_the_maintenance_commands_report_their_result(kswatch, store, path):
    night(store, {"fused": 1.0})
    assert "is intact" in kswatch("db", "check").stdout
    printed = json.loads(kswatch("db", "stats", "--json").stdout)
    assert (printed["rows"]["measurement"], printed["schema"]) == (1, HEAD)
    assert "deleted samples of 0 measurements" in kswatch("db", "prune", "--older-than-days", 1).stdout
    assert f"schema {HEAD}, the newest" in kswatch("db", "upgrade").stdout


def test_commands_import_nothing_heavy_before_they_run():
    code = (
        "import sys, kswatch.db.cli.store; "
        "print(*{'sqlalchemy', 'numpy', 'rich.table', 'torch'} & {*sys.modules})"
    )
    root = Path(__file__).parents[3]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert printed.stdout == "\n"

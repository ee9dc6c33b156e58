"""The search for tiles: a wrong one never wins, a killed search goes on, the table is used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer.main

from kswatch import cli as kswatch
from kswatch.db.compiled_code import tuned_tiles
from kswatch.db.records import MeasurementRecord, ProblemKey
from kswatch.db.store import Store
from kswatch.errors import MeasurementError, UsageError
from kswatch.kernels.fused import tuning
from kswatch.kernels.fused.artifacts import tuned_tiles as tuned
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.tuning import Candidate, TiledFused
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from kswatch.profiler.cli import tune as tune_commands
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.liveness.device_lease import holding
from kswatch.profiler.planning.budget import Budget
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.tuning import Rules, export, fastest, tune

pytestmark = pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))

QUICK = MeasureSettings(cell_cap_ms=20.0, problem_cap_ms=100.0, warm_up_ms=5.0, too_slow_ms=10_000.0)
PROBLEM = Problem(Pattern(2, 16, 16, 4), 1024, "fp32", "batch_first")
OTHER = Problem(Pattern(1, 128, 64, 1), 1024, "fp32", "batch_last")
CPU = torch.device("cpu")


def kept(store: Store) -> list[tuned_tiles.TunedTileRecord]:
    return list(tuned_tiles.of_device(store, devices.cpu_target().record.uuid, tuning.source_hash(CPU)))


def test_a_wrong_tile_is_refused_however_fast_it_is(store, monkeypatch):
    def with_a_wrong_one(problem: Problem, device: torch.device, most: int) -> list[Candidate]:
        right = tuning.candidates(problem, device, 2)
        return [right[0], replace(right[1], cycles=-1.0), right[1]]

    prepare = TiledFused.prepare

    def planted(self, problem, weights):
        product = prepare(self, problem, weights)
        if self.wrong:
            return lambda x, empty=torch.empty: empty(problem.output_shape).zero_()
        return product

    begin = TiledFused.__init__

    def marked(self, candidate, name):
        begin(self, candidate, f"wrong {name}" if candidate.cycles < 0 else name)
        self.wrong = candidate.cycles < 0

    monkeypatch.setattr(TiledFused, "__init__", marked)
    monkeypatch.setattr(TiledFused, "prepare", planted)
    search = tune(store, devices.cpu_target(), [PROBLEM], rules=Rules(3, QUICK, with_a_wrong_one))
    (found,) = search.found
    assert (found.candidates, found.refused) == (2, 1)
    (record,) = kept(store)
    assert (record.candidates, record.refused, record.tile) == (2, 1, found.tile)
    assert record.latency_ms > 0


def test_only_what_is_surely_faster_replaces_the_models_tile():
    model, other = tuning.candidates(PROBLEM, CPU, 2)
    key = ProblemKey(2, 16, 16, 4, 1024, "fp32", "batch_first")
    of_model = MeasurementRecord(key, "fused", "ok", latency_ms=1.0)
    surely = MeasurementRecord(
        key, "other", "ok", latency_ms=0.5, ratio_to_fused=0.5, ratio_to_fused_high=0.6
    )
    perhaps = replace(surely, ratio_to_fused_high=1.01)
    assert fastest([(model, of_model), (other, surely)])[0] is other
    assert fastest([(model, of_model), (other, perhaps)])[0] is model
    assert fastest([(other, perhaps)])[0] is other  # the model's tile was wrong


def test_what_is_in_the_store_is_passed_over_and_other_sources_are_not(store, monkeypatch):
    rules = Rules(1, QUICK)
    tune(store, devices.cpu_target(), [PROBLEM], rules=rules)
    again = tune(store, devices.cpu_target(), [PROBLEM, OTHER], rules=rules)
    assert (again.known, len(again.found)) == (1, 1)
    monkeypatch.setattr(tuning, "source_hash", lambda device: "another source")
    assert tune(store, devices.cpu_target(), [PROBLEM], rules=rules).known == 0


def test_the_budget_leaves_problems_for_the_next_time(store):
    search = tune(store, devices.cpu_target(), [PROBLEM, OTHER], rules=Rules(1, QUICK), budget=Budget(1e-9))
    assert (len(search.found), search.left) == (0, 2)


def test_a_device_that_is_being_measured_is_left_alone(store):
    target = devices.cpu_target()
    with holding(store, target.record.uuid, 60.0), pytest.raises(MeasurementError, match="being measured"):
        tune(store, target, [PROBLEM], rules=Rules(1, QUICK))


def test_the_exported_table_is_read_back_and_used(store, tmp_path, monkeypatch):
    monkeypatch.setenv("KSWATCH_TILES", str(tmp_path))
    search = tune(store, devices.cpu_target(), [PROBLEM], rules=Rules(1, QUICK))
    record = replace(kept(store)[0], tile="2 rows x 1 vectors, blocks of 16, up to 2 j's together")
    tuned_tiles.record(store, devices.cpu_target().record, search.source_hash, record)
    assert not twin.tile(PROBLEM).startswith(record.tile)
    assert export(store, search, tuned.table_path(search.architecture)) == 1
    assert twin.tile(PROBLEM).startswith(record.tile)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "tune a suite"),
        (["--pattern", "1,2,3"], "not of the form"),
        (["smoke", "--device", "sim:h200"], "simulated"),
        (["smoke", "--budget", "soon"], "no duration"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(arguments, sentence, tmp_path):
    settings = {
        "config": kswatch.read_config(tmp_path / "none"),
        "database_url": f"sqlite:///{tmp_path / 'k.db'}",
    }
    with pytest.raises(UsageError, match=sentence):
        typer.main.get_command(tune_commands.app).main(arguments, obj=settings, standalone_mode=False)


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(tmp_path):
    url = f"sqlite:///{tmp_path / 'kswatch.db'}"
    (tmp_path / "kswatch.toml").write_text("[profiler]\ncell_cap_ms = 100.0\ntoo_slow_ms = 1e4\n")
    patterns = [f"--pattern={a},8,8,2" for a in (1, 2, 3)]
    arguments = ["tune", *patterns, "--batch=32", "--precision=fp32", "--most=2", "--json"]
    command = [str(Path(sys.executable).with_name("kswatch")), *arguments]
    environment = os.environ | {"KSWATCH_DATABASE_URL": url}
    options = {"cwd": tmp_path, "env": environment, "stderr": subprocess.DEVNULL}
    store = Store.open(url)
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    deadline = time.monotonic() + 120
    while not kept(store):
        assert time.monotonic() < deadline and killed.poll() is None, "the search found nothing"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = len(kept(store))
    output = subprocess.run([*command, "--export=tiles.toml"], stdout=subprocess.PIPE, check=True, **options)
    report = json.loads(output.stdout)
    assert report["known"] >= done >= 1
    assert report["known"] + len(report["found"]) == report["exported"] == 6
    assert len(tuned.tiles_of(tmp_path / "tiles.toml")) == 6

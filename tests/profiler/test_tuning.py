"""Tuning: an incorrect tile is never kept, a killed search continues, the table is used."""

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
from kswatch.profiler.liveness.device_lease import hold_device
from kswatch.profiler.planning.budget import TimeBudget
from kswatch.profiler.settings import MeasureSettings
from kswatch.profiler.tuning import TuningLimits, export, fastest, tune
from tests.kswatch.sample_services import sample_services

pytestmark = pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))

QUICK = MeasureSettings(cell_cap_ms=20.0, problem_cap_ms=100.0, warm_up_ms=5.0, too_slow_ms=10_000.0)
PROBLEM = Problem(Pattern(2, 16, 16, 4), 1024, "fp32", "batch_first")
OTHER = Problem(Pattern(1, 128, 64, 1), 1024, "fp32", "batch_last")
CPU = torch.device("cpu")


def kept(store: Store) -> list[tuned_tiles.TunedTileRecord]:
    return list(tuned_tiles.of_device(store, devices.cpu_target().record.uuid, tuning.source_hash(CPU)))


def test_an_incorrect_tile_is_refused_even_if_it_is_fastest(store, monkeypatch):
    def with_an_incorrect_one(problem: Problem, device: torch.device, most: int) -> list[Candidate]:
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
    search = tune(
        store, devices.cpu_target(), [PROBLEM], limits=TuningLimits(3, QUICK, with_an_incorrect_one)
    )
    (found,) = search.found
    assert (found.candidates, found.refused) == (2, 1)
    (record,) = kept(store)
    assert (record.candidates, record.refused, record.tile) == (2, 1, found.tile)
    assert record.latency_ms > 0


def test_only_a_significantly_faster_tile_replaces_the_models_tile():
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


def test_stored_tiles_are_skipped_unless_the_sources_changed(store, monkeypatch):
    limits = TuningLimits(1, QUICK)
    tune(store, devices.cpu_target(), [PROBLEM], limits=limits)
    again = tune(store, devices.cpu_target(), [PROBLEM, OTHER], limits=limits)
    assert (again.known, len(again.found)) == (1, 1)
    monkeypatch.setattr(tuning, "source_hash", lambda device: "another source")
    assert tune(store, devices.cpu_target(), [PROBLEM], limits=limits).known == 0


def test_problems_beyond_the_budget_are_left(store):
    search = tune(
        store, devices.cpu_target(), [PROBLEM, OTHER], limits=TuningLimits(1, QUICK), budget=TimeBudget(1e-9)
    )
    assert (len(search.found), search.left) == (0, 2)


def test_a_device_that_is_being_measured_is_refused(store):
    target = devices.cpu_target()
    with (
        hold_device(store, target.record.uuid, 60.0),
        pytest.raises(MeasurementError, match="being measured"),
    ):
        tune(store, target, [PROBLEM], limits=TuningLimits(1, QUICK))


def test_the_exported_table_is_read_back_and_used(store, tmp_path, monkeypatch):
    monkeypatch.setenv("KSWATCH_TILES", str(tmp_path))
    search = tune(store, devices.cpu_target(), [PROBLEM], limits=TuningLimits(1, QUICK))
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
        (["smoke", "--budget", "soon"], "not a duration"),
    ],
)
def test_an_invalid_search_is_refused_in_one_sentence(arguments, sentence, tmp_path):
    settings = sample_services(f"sqlite:///{tmp_path / 'k.db'}")
    with pytest.raises(UsageError, match=sentence):
        typer.main.get_command(tune_commands.app).main(arguments, obj=settings, standalone_mode=False)


@pytest.mark.slow
def test_a_killed_search_continues_where_it_stopped(tmp_path):
    url = f"sqlite:///{tmp_path / 'kswatch.db'}"
    (tmp_path / "kswatch.toml").write_text("[profiler]\ncell_cap_ms = 100.0\ntoo_slow_ms = 1e4\n")
    patterns = [f"--pattern={a},8,8,2" for a in (1, 2, 3)]
    arguments = ["tune", *patterns, "--batch=32", "--precision=fp32", "--most=2", "--json"]
    command = [str(Path(sys.executable).with_name("kswatch")), *arguments]
    environment = os.environ | {"KSWATCH_DATABASE_URL": url}
    options = {"cwd": tmp_path, "env": environment, "stderr": subprocess.DEVNULL}
    store = Store.open(url)
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    deadline = time.monotonic() + 240
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
    assert len(tuned.read_table(tmp_path / "tiles.toml")) == 6

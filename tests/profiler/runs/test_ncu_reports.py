"""Reports of ncu by a stand-in for it: kept after the run, or a sentence why not."""

from __future__ import annotations

import stat

import pytest

from kswatch.db.artifacts.stored import artifact_content, artifacts
from kswatch.db.coordination import leases
from kswatch.db.records import DeviceRecord
from kswatch.errors import MeasurementError
from kswatch.profiler.runs import ncu_reports
from kswatch.profiler.runs.ncu_reports import keep_reports
from tests.ci.nights import DEVICE, PROBLEMS, Nights


@pytest.fixture
def ncu(tmp_path):
    """Makes a program that runs a shell command in ncu's place; `$out` is the report that it shall write."""

    def make(command):
        program = tmp_path / "ncu"
        script = f'#!/bin/sh\nwhile [ "$1" != --export ]; do shift; done\nout=$2\n{command}\n'
        program.write_text(script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return str(program)

    return make


@pytest.fixture
def notes():
    return []


def test_each_product_of_fused_has_its_report(store, ncu, notes):
    Nights(store).night(statuses={("fused", PROBLEMS[0]): "crashed"})
    program = ncu('printf "%s on %s" "$*" "$CUDA_VISIBLE_DEVICES" > "$out"')
    assert keep_reports(store, 1, notes.append, program) == len(PROBLEMS) - 1 == len(artifacts(store))
    one, content = artifact_content(store, 1)
    assert one.name.startswith("run1-fused-") and one.name.endswith(".ncu-rep")
    assert content.endswith(f"on {DEVICE.uuid}".encode()) and b"--set full" not in content
    assert b"--profile-from-start off" in content and notes == []
    assert leases.holder_of(store, DEVICE.uuid) is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo ERR_NVGPUCTRPERM; exit 1", "only root may read them"),
        ("echo lost; exit 3", "exit code 3: lost"),
        ("true", "wrote no report"),
        (': > "$out"', "an empty report"),
        ('head -c 50000001 /dev/zero > "$out"', "larger than 50 MB"),
    ],
)
def test_a_report_that_cannot_be_kept_is_a_sentence(store, ncu, notes, command, message):
    Nights(store).night()
    assert keep_reports(store, 1, notes.append, ncu(command)) == 0
    assert artifacts(store) == []
    assert len(notes) == len(PROBLEMS) and all(message in note for note in notes)


def test_reports_end_where_the_time_does(store, ncu, notes):
    Nights(store).night()
    left = iter((True, False))
    program = ncu('echo report > "$out"')
    assert keep_reports(store, 1, notes.append, program, lambda: next(left)) == 1 == len(artifacts(store))
    assert notes == [f"its time limit or a stop left {len(PROBLEMS) - 1} products without a report"]
    assert leases.holder_of(store, DEVICE.uuid) is None


def test_without_ncu_and_without_a_gpu_there_is_none(store, ncu, notes, monkeypatch):
    monkeypatch.setattr(ncu_reports, "find_tool", lambda name: None)
    Nights(store).night()
    with pytest.raises(MeasurementError, match="ncu was not found"):
        keep_reports(store, 1, notes.append)
    Nights(store, device=DeviceRecord("cpu-1", "cpu", "a CPU")).night()
    with pytest.raises(MeasurementError, match="NVIDIA GPUs only"):
        keep_reports(store, 2, notes.append, ncu("true"))

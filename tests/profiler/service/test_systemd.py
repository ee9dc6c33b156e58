from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.service.schedule import read_schedule
from kswatch.profiler.service.systemd import unit


def settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_unit_serves_with_this_configuration(tmp_path):
    told = settings(unit(ProfilerConfig(), tmp_path / "kswatch.toml"))
    assert told["ExecStart"].endswith("kswatch serve")
    assert Path(told["ExecStart"].split()[0]).is_absolute()
    assert told["WorkingDirectory"] == str(tmp_path)
    assert told["Environment"] == f"KSWATCH_CONFIG={tmp_path / 'kswatch.toml'}"


def test_the_unit_of_a_cluster_has_its_scheduler(tmp_path):
    config = ProfilerConfig(engine="dask", scheduler="tcp://night:8786")
    told = settings(unit(config, tmp_path / "kswatch.toml"))
    assert told["ExecStart"].endswith("kswatch serve --engine dask --scheduler tcp://night:8786")


def test_the_cron_line_is_the_schedule_and_can_be_pasted(tmp_path):
    folder = tmp_path / "two words"
    [line] = [line for line in unit(ProfilerConfig(), folder / "k.toml").splitlines() if " cd " in line]
    cron, command = line.removeprefix("# ").split(" cd ")
    read_schedule(cron, "UTC")
    assert command.startswith(f"'{folder}' && KSWATCH_CONFIG=")


@pytest.mark.parametrize("folder", ["plain", "two words", "100%"])
def test_systemd_accepts_the_unit(tmp_path, folder):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze here")
    place = tmp_path / folder
    place.mkdir()
    (tmp_path / "kswatch.service").write_text(unit(ProfilerConfig(), place / "kswatch.toml") + "\n")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "kswatch.service")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "kswatch.service" not in done.stderr, done.stderr

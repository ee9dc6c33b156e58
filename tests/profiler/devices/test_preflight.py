"""Checks before a run, on a simulated NVML."""

import os
import subprocess

import pynvml
import pytest

from kswatch.db.records import DeviceRecord
from kswatch.profiler.devices import preflight
from kswatch.profiler.devices.discovery import Target, cpu_target
from kswatch.profiler.probes import nvml

GPU = Target(DeviceRecord("GPU-1", "cuda", "NVIDIA H200"), "cuda:0")
ANSWERS = {
    "nvmlInit": None,
    "nvmlSystemGetDriverVersion": "580.95",
    "nvmlDeviceGetHandleByUUID": "gpu",
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetApplicationsClock": 1980,
    "nvmlDeviceGetDefaultApplicationsClock": 1980,
    "nvmlDeviceGetEccMode": (1, 1),
    "nvmlDeviceGetMigMode": (0, 0),
    "nvmlDeviceGetVbiosVersion": "96.00",
    "nvmlDeviceGetComputeRunningProcesses": [],
    "nvmlDeviceGetTemperature": 41,
    "nvmlDeviceGetCurrPcieLinkWidth": 16,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
    "nvmlDeviceGetTotalEnergyConsumption": 1_000,
    "nvmlDeviceGetPowerUsage": 90_000,
    "nvmlDeviceGetFieldValues": ...,
}


@pytest.fixture
def board(monkeypatch):
    """Change an answer by its function's name; `...` makes the function refuse."""
    answers = dict(ANSWERS)

    def function(name):
        def read(*arguments):
            if answers[name] is ...:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return answers[name]

        return read

    for name in ANSWERS:
        monkeypatch.setattr(pynvml, name, function(name))
    return answers


def test_a_healthy_board_has_no_notes_and_no_refusals(board):
    assert preflight.preflight(GPU) == preflight.Preflight()


def test_another_process_on_the_gpu_is_a_refusal(board):
    board["nvmlDeviceGetComputeRunningProcesses"] = [
        pynvml.c_nvmlProcessInfo_t(pid=os.getpid()),
        pynvml.c_nvmlProcessInfo_t(pid=4242),
    ]
    assert "(4242) use NVIDIA H200" in preflight.preflight(GPU).time_refusal


def test_neither_our_own_process_nor_its_children_are_neighbours(board):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        pids = (os.getpid(), child.pid)
        board["nvmlDeviceGetComputeRunningProcesses"] = [pynvml.c_nvmlProcessInfo_t(pid=pid) for pid in pids]
        assert preflight.preflight(GPU).time_refusal is None


@pytest.mark.parametrize(
    ("function", "answer", "reason"),
    [
        ("nvmlDeviceGetMigMode", (1, 1), "MIG is on"),
        ("nvmlInit", ..., "NVML does not start"),
        ("nvmlDeviceGetHandleByUUID", ..., "does not know GPU-1"),
    ],
)
def test_meaningless_energy_is_refused_with_the_reason(board, function, answer, reason):
    board[function] = answer
    found = preflight.preflight(GPU)
    assert reason in found.energy_refusal
    assert found.time_refusal is None


def test_a_driver_without_energy_and_power_is_a_refusal_of_energy(board):
    board["nvmlDeviceGetTotalEnergyConsumption"] = board["nvmlDeviceGetPowerUsage"] = ...
    assert "neither energy nor power" in preflight.preflight(GPU).energy_refusal


def test_a_mig_instance_has_no_energy(board):
    instance = Target(DeviceRecord("MIG-1", "cuda", "NVIDIA H200 MIG 1g.18gb"), "cuda:0")
    assert "MIG instance" in preflight.preflight(instance).energy_refusal


def test_a_hot_board_and_a_narrow_bus_are_notes(board):
    board["nvmlDeviceGetTemperature"], board["nvmlDeviceGetCurrPcieLinkWidth"] = 88, 4
    notes = preflight.preflight(GPU).notes
    assert any("88 °C" in note for note in notes)
    assert any("x4 of x16" in note for note in notes)


def test_a_busy_cpu_is_a_note(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    assert "OMP_NUM_THREADS=1" in preflight.preflight(cpu_target()).notes[0]
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert preflight.preflight(cpu_target()).notes == ()


def test_board_settings_are_read_and_unsupported_ones_are_none(board):
    assert nvml.board_settings("GPU-1") == dict(
        driver="580.95", power_limit_w=700.0, clock_lock="none", ecc="on", mig="off", vbios="96.00"
    )
    board["nvmlDeviceGetApplicationsClock"] = 1200
    board["nvmlDeviceGetEccMode"] = board["nvmlDeviceGetEnforcedPowerLimit"] = ...
    found = nvml.board_settings("GPU-1")
    assert (found["clock_lock"], found["ecc"], found["power_limit_w"]) == (
        "applications 1200 MHz",
        None,
        None,
    )

"""What a machine lacks, and the cure."""

import pytest

from kswatch.profiler import diagnostics as doctor
from kswatch.profiler.config import ProfilerConfig
from kswatch.profiler.devices import discovery as devices


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr(doctor.nvml, "start", lambda: "NVML Shared Library Not Found")
    monkeypatch.setattr(devices, "_cuda_targets", lambda: ())


def test_every_check_that_fails_has_a_cure(no_driver, tmp_path):
    config = ProfilerConfig(devices=("cpu", "cuda:3"))
    found = doctor.checks(config, f"sqlite:///{tmp_path}/kswatch.db")
    assert {check.name for check in found} >= {"python", "torch", "compiler", "GPU", "energy", "store"}
    assert [check.name for check in found if not check.ok] == ["nightly device"]
    assert all(check.cure for check in found if not check.ok)
    assert not (tmp_path / "kswatch.db").exists()


def test_another_distribution_with_our_name_is_told_with_the_cure(monkeypatch):
    monkeypatch.setattr(doctor, "_owners", lambda: {"kernels": ["kswatch", "kernels"], "db": ["kswatch"]})
    (check,) = doctor.import_names()
    assert not check.ok
    assert "package called kernels" in check.what
    assert "pip uninstall kernels" in check.cure
    assert doctor.foreign_owner("db") is None


def test_a_machine_without_a_gpu_is_fine(no_driver):
    (check,) = doctor.gpus()
    assert check.ok
    assert "the CPU is measured" in check.what


def test_a_driver_that_torch_does_not_use_is_not(monkeypatch):
    monkeypatch.setattr(doctor.nvml, "start", lambda: None)
    monkeypatch.setattr(devices, "_cuda_targets", lambda: ())
    check = next(iter(doctor.gpus()))
    assert not check.ok
    assert "CUDA" in check.cure


def test_a_missing_compiler_is_told(monkeypatch):
    from kswatch.kernels.fused.cpu_twin import twin

    monkeypatch.setattr(twin, "load", lambda: "no C++ compiler found")
    check = doctor.compiler()
    assert not check.ok
    assert "install g++" in check.cure


def test_a_folder_that_cannot_hold_a_store_is_told(tmp_path):
    (check,) = doctor.store(f"sqlite:///{tmp_path}/missing/kswatch.db")
    assert not check.ok


def test_a_store_that_is_not_one_is_told_in_one_sentence(tmp_path):
    (tmp_path / "kswatch.db").write_text("no database")
    (check,) = doctor.store(f"sqlite:///{tmp_path}/kswatch.db")
    assert not check.ok
    assert "kswatch.db" in check.what

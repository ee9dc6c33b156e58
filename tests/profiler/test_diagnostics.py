"""`kswatch doctor`: findings about a machine, and the cure for what is missing."""

from pathlib import Path

import pytest

import kswatch
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


def test_another_distribution_with_our_name_fails_with_the_cure(monkeypatch):
    monkeypatch.setattr(doctor, "_owners", lambda: {"kswatch": ["kswatch", "kswatch", "k-watch"]})
    (check,) = doctor.import_name()
    assert not check.ok
    assert "k-watch also provides a package called kswatch" in check.what
    assert "pip uninstall k-watch" in check.cure


def test_the_imported_kswatch_is_ours(monkeypatch):
    monkeypatch.setattr(doctor, "_owners", lambda: {"kswatch": ["kswatch"], "kernels": ["kernels"]})
    (check,) = doctor.import_name()
    assert check.ok
    assert str(Path(kswatch.__file__).resolve().parent) in check.what


def test_a_second_copy_that_is_installed_elsewhere_fails_with_both_places(monkeypatch, tmp_path):
    information = tmp_path / "kswatch-0.0.9.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: kswatch\nVersion: 0.0.9\n")
    (information / "RECORD").write_text("kswatch/__init__.py,,\nkswatch/cli.py,,\n")
    (tmp_path / "kswatch").mkdir()
    (tmp_path / "kswatch" / "__init__.py").touch()  # files that are absent are not listed
    monkeypatch.syspath_prepend(str(tmp_path))
    (check,) = doctor.import_name()
    assert not check.ok
    assert f"version 0.0.9 is in {tmp_path / 'kswatch'}" in check.what
    assert "pip uninstall kswatch" in check.cure


@pytest.fixture
def no_installed_copy(monkeypatch):
    """Packages of tests are not the installed one, of which this work tree's own metadata tells."""
    monkeypatch.setattr(doctor, "distributions", lambda **_: ())


def checkout(root: Path) -> Path:
    """A checkout's `kswatch` folder with all its links."""
    package = root / "kswatch"
    package.mkdir()
    (root / "pyproject.toml").touch()
    for name in doctor.FOLDERS:
        (root / name).mkdir()
        (package / name).symlink_to(f"../{name}")
    return package


@pytest.mark.parametrize("lost", ["text", "copy", "absent"])
def test_a_checkout_without_its_links_fails_with_the_cure(tmp_path, no_installed_copy, lost):
    package = checkout(tmp_path)
    assert [check.ok for check in doctor.import_name(package)] == [True]
    (package / "db").unlink()
    if lost == "text":  # git on Windows writes the link's target into a file
        (package / "db").write_text("../db")
    if lost == "copy":
        (package / "db").mkdir()
    (check,) = doctor.import_name(package)
    assert not check.ok
    assert "kswatch/db" in check.what
    assert "kswatch/kernels" not in check.what
    assert "Windows" in check.what
    assert "git config core.symlinks true && git checkout -- kswatch" in check.cure


def test_an_installation_holds_folders_and_needs_no_links(tmp_path, no_installed_copy):
    for name in doctor.FOLDERS:
        (tmp_path / "kswatch" / name).mkdir(parents=True)
    (check,) = doctor.import_name(tmp_path / "kswatch")
    assert check.ok


def test_a_machine_without_a_gpu_is_fine(no_driver):
    (check,) = doctor.gpus()
    assert check.ok
    assert "the CPU is measured" in check.what


def test_a_driver_that_torch_does_not_use_fails(monkeypatch):
    monkeypatch.setattr(doctor.nvml, "start", lambda: None)
    monkeypatch.setattr(devices, "_cuda_targets", lambda: ())
    check = next(iter(doctor.gpus()))
    assert not check.ok
    assert "CUDA" in check.cure


def test_a_rival_that_is_missing_or_does_not_compute_is_fine_and_has_its_cure(no_driver, monkeypatch):
    from kswatch.kernels.baselines import rival_libraries

    monkeypatch.setattr(rival_libraries, "_version", lambda name: None if name == "pyopencl" else "1.0")
    found = list(doctor.rivals())
    assert [check.ok for check in found] == [True, True]
    assert found[0].what == "compiled: torch 1.0"
    assert found[1].what == "lazylinop: not installed: pip install -c constraints.txt 'kswatch[rivals]'"
    monkeypatch.setattr(rival_libraries, "_version", lambda name: "1.0")
    monkeypatch.setattr(doctor, "_opencl_refusal", lambda: "no pocl is found; apt install pocl-opencl-icd")
    assert list(doctor.rivals())[1].what == "lazylinop: no pocl is found; apt install pocl-opencl-icd"


def test_a_missing_compiler_fails_with_the_cure(monkeypatch):
    from kswatch.kernels.fused.cpu_twin import twin

    monkeypatch.setattr(twin, "load", lambda: "no C++ compiler found")
    check = doctor.compiler()
    assert not check.ok
    assert "install g++" in check.cure


def test_a_folder_that_cannot_hold_a_store_fails(tmp_path):
    (check,) = doctor.store(f"sqlite:///{tmp_path}/missing/kswatch.db")
    assert not check.ok


def test_a_file_that_is_no_store_fails_with_its_name(tmp_path):
    (tmp_path / "kswatch.db").write_text("no database")
    (check,) = doctor.store(f"sqlite:///{tmp_path}/kswatch.db")
    assert not check.ok
    assert "kswatch.db" in check.what


@pytest.mark.parametrize(("address", "ok"), [("tcp://10.0.0.5:8786", False), ("tls://10.0.0.5:8786", True)])
def test_a_scheduler_through_which_strangers_run_code_fails(address, ok):
    (check,) = doctor.scheduler(ProfilerConfig(scheduler=address))
    assert check.ok == ok
    assert ok or ("has no TLS" in check.what and "tls://10.0.0.5:8786" in check.cure)


def test_an_address_that_is_no_scheduler_fails_with_an_example():
    (check,) = doctor.scheduler(ProfilerConfig(scheduler="night"))
    assert not check.ok and "tls://host:8786" in check.cure

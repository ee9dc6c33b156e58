"""Discovery: devices by their names, and the facts about the host's CPU."""

import pytest

from kswatch.db.records import DeviceRecord
from kswatch.errors import MeasurementError
from kswatch.profiler.devices import discovery as devices
from kswatch.profiler.devices.discovery import Target

GPUS = (
    Target(DeviceRecord("GPU-aaaa1111-2222", "cuda", "NVIDIA H200"), "cuda:0"),
    Target(DeviceRecord("GPU-aaaa3333-4444", "cuda", "Tesla V100-PCIE-16GB"), "cuda:1"),
    Target(DeviceRecord("GPU-bbbb5555-6666", "cuda", "NVIDIA H200"), "cuda:2"),
)


@pytest.fixture
def gpus(monkeypatch):
    monkeypatch.setattr(devices, "_cuda_targets", lambda: GPUS)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("cuda", "cuda:0"),
        ("cuda:1", "cuda:1"),
        ("GPU-aaaa3333-4444", "cuda:1"),
        ("GPU-bbb", "cuda:2"),
        ("aaaa1", "cuda:0"),
        ("Tesla_V100-PCIE-16GB", "cuda:1"),
        ("tesla v100-pcie-16gb", "cuda:1"),
        (" cpu ", "cpu"),
    ],
)
def test_a_device_is_found_by_each_of_its_names(gpus, spec, found):
    assert devices.find(spec).torch_device == found


@pytest.mark.parametrize("spec", ["NVIDIA H200", "GPU-aaaa"])
def test_an_ambiguous_name_is_refused_and_all_devices_are_listed(gpus, spec):
    with pytest.raises(MeasurementError, match="ambiguous.*GPU-bbbb5555-6666"):
        devices.find(spec)


@pytest.mark.parametrize("spec", ["cuda:7", "", "G", "H300"])
def test_an_unknown_device_is_refused_and_the_known_ones_are_listed(gpus, spec):
    with pytest.raises(MeasurementError, match="no device.*cpu = .*cuda:1 = Tesla V100"):
        devices.find(spec)


def test_without_a_driver_only_the_cpu_is_listed(monkeypatch):
    monkeypatch.setattr(devices.nvml, "start", lambda: "no driver")
    assert [target.torch_device for target in devices.list_targets()] == ["cpu"]


def test_the_cpu_keeps_its_identity():
    first, second = devices.cpu_target().record, devices.cpu_target().record
    assert first == second
    assert first.uuid.startswith("cpu-")
    assert first.model


@pytest.mark.parametrize(
    ("sizes", "largest_bytes"),
    [
        (("32K", "1024K", "36608K"), 36608 << 10),
        (("48K", "32M"), 32 << 20),
        (("48K", "unknown", ""), 48 << 10),
        ((), None),
    ],
)
def test_the_cpu_cache_is_the_largest_one_of_core_0(monkeypatch, tmp_path, sizes, largest_bytes):
    for number, size in enumerate(sizes):
        index = tmp_path / "cpu0" / "cache" / f"index{number}"
        index.mkdir(parents=True)
        for name, text in (("size", size), ("level", number + 1), ("type", "Unified")):
            (index / name).write_text(f"{text}\n")
    monkeypatch.setattr(devices, "CPU_FOLDER", tmp_path)
    assert devices.cpu_target().record.cache_bytes == largest_bytes


def test_the_number_of_threads_follows_omp_num_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert devices.cpu_threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    assert devices.cpu_threads() == len(devices.physical_cores())


def test_a_simulated_device_is_not_confused_with_another_one_of_its_model():
    second = devices.find("sim:h200:2")
    with pytest.raises(MeasurementError, match="no device 'sim:h200'"):
        devices.choose("sim:h200", (second,))
    assert devices.choose("sim-h200-2", (second,)) == second

"""Names of devices as users type them."""

import pytest

from kswatch.errors import UsageError
from kswatch.kernels.heuristics.device_distance import same_model
from kswatch.kernels.heuristics.known_devices import find_device_facts

MEASURED = [
    {"model": "Tesla V100-PCIE-16GB", "kind": "cuda"},
    {"model": "NVIDIA A100-PCIE-40GB", "kind": "cuda"},
    {"model": "NVIDIA A100-SXM4-80GB", "kind": "cuda"},
]


@pytest.mark.parametrize("name", ["V100", "v100", "Tesla_V100", "NVIDIA V100 16GB", "tesla v100-pcie-16gb"])
def test_a_short_name_means_the_only_measured_model_with_its_words(name: str) -> None:
    assert find_device_facts(name, MEASURED)["model"] == "Tesla V100-PCIE-16GB"


def test_a_name_of_several_measured_models_is_refused_with_their_names() -> None:
    with pytest.raises(UsageError, match="NVIDIA A100-PCIE-40GB, NVIDIA A100-SXM4-80GB"):
        find_device_facts("A100", MEASURED)
    assert find_device_facts("A100 80GB", MEASURED)["model"] == "NVIDIA A100-SXM4-80GB"


@pytest.mark.parametrize(
    "name", ["H200", "NVIDIA H100 80GB HBM3", "NVIDIA RTX 6000 Ada Generation", "GeForce RTX 4090"]
)
def test_an_unmeasured_gpu_with_stated_rates_is_known(name: str) -> None:
    assert find_device_facts(name, MEASURED) == {"model": name, "kind": "cuda"}


@pytest.mark.parametrize("name", ["cpu", "CPU", "Intel(R) Xeon(R) Processor @ 2.50GHz", "AMD EPYC 9654"])
def test_processors_are_of_kind_cpu(name: str) -> None:
    assert find_device_facts(name, MEASURED)["kind"] == "cpu"


@pytest.mark.parametrize(
    ("name", "near"),
    [("TPU v7", "T4"), ("H2000", "H200"), ("V1000", "V100"), ("Radeon 7900", "cpu"), ("", "cpu")],
)
def test_an_unknown_device_is_refused_with_near_names(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"no device '{name}' is known.*near names: ") as raised:
        find_device_facts(name, MEASURED)
    assert near in str(raised.value) or name == "Radeon 7900"


@pytest.mark.parametrize("name", ["x86_64", "aarch64", "cpu", ""])
def test_a_processor_without_a_model_is_any_measured_one(name: str) -> None:
    assert same_model({"kind": "cpu", "model": name}, {"kind": "cpu", "model": "AMD EPYC"})
    assert not same_model({"kind": "cpu", "model": "Intel Xeon"}, {"kind": "cpu", "model": "AMD EPYC"})

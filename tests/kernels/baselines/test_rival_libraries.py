"""Which rivals a machine can have, and the versions that are recorded with a run."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from kswatch.kernels.baselines import rival_libraries
from kswatch.kernels.baselines.rival_libraries import (
    RIVAL_LIBRARIES,
    missing_libraries,
    rival_versions,
)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A machine that has the given distributions."""
    versions: dict[str, str] = {}

    def found(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(rival_libraries, "version", found)
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path))
    rival_libraries._version.cache_clear()
    yield versions
    rival_libraries._version.cache_clear()


def test_a_rival_is_a_key_where_all_that_it_needs_is_installed(installed) -> None:
    installed |= {"torch": "2.13.0", "lazylinop": "1.24.28", "pyopencl": "2026.1.4"}
    assert rival_versions("cpu") == {"compiled": {"torch": "2.13.0"}}, "it has no OpenCL"
    assert rival_versions("cuda").keys() == {"lazylinop"}, "it needs none on a GPU"
    installed |= {"pocl-binary-distribution": "3.0"}
    rival_libraries._version.cache_clear()
    assert rival_versions("cpu") == {
        "compiled": {"torch": "2.13.0"},
        "lazylinop": {"lazylinop": "1.24.28", "pyopencl": "2026.1.4", "pocl-binary-distribution": "3.0"},
    }


def test_what_a_rival_depends_on_besides_is_recorded_where_it_is_installed(installed) -> None:
    installed |= {"nvmath-python": "1.0.0", "cutensor-cu13": "2.8.1"}
    assert rival_versions("cuda")["cutensor"] == {"nvmath-python": "1.0.0", "cutensor-cu13": "2.8.1"}


def test_the_systems_pocl_is_recorded_by_the_name_of_its_library(installed, tmp_path) -> None:
    installed |= {"lazylinop": "1.24.28", "pyopencl": "2026.1.4"}
    (tmp_path / "pocl.icd").write_text("/usr/lib/x86_64-linux-gnu/libpocl.so.2.10.0\n")
    assert rival_versions("cpu")["lazylinop"]["libpocl"] == "2.10.0"


def test_no_rival_for_gpus_alone_is_had_on_a_cpu(installed) -> None:
    installed |= {name: "1" for one in RIVAL_LIBRARIES.values() for name in one.needed.get("cuda", ())}
    assert rival_versions("cuda").keys() == {"cutensor", "compiled", "lazylinop", "triton"}
    assert rival_versions("cpu").keys() == {"compiled"}
    assert missing_libraries("triton", "cpu") == "computes on NVIDIA GPUs only, not on the cpu"


@pytest.mark.parametrize("rival", RIVAL_LIBRARIES)
def test_a_missing_library_is_a_reason_with_the_command_that_installs_it(installed, rival: str) -> None:
    reason = missing_libraries(rival, "cuda")
    assert (
        reason == f"not installed: pip install -c constraints.txt 'kswatch[{RIVAL_LIBRARIES[rival].extra}]'"
    )


def test_the_versions_are_those_of_the_installed_packages_and_need_no_torch() -> None:
    code = (
        "import sys; from kswatch.kernels.baselines.rival_libraries import rival_versions as found;"
        "print(found('cpu')['compiled']['torch'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [version("torch"), "False"]

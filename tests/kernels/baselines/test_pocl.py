"""The choice of an OpenCL for this CPU, with simulated platforms."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from kswatch.errors import UnsupportedError
from kswatch.kernels.baselines import lazylinop

UNKNOWN_CPU = (
    "clBuildProgram failed: BUILD_PROGRAM_FAILURE\nerror: unknown target CPU 'znver4'\nDevice: pthread"
)


def platform(release: str, error: str | None = None, threads: int = 2, name: str = lazylinop.POCL):
    """A platform of one device, whose compiler fails with the error."""
    device = SimpleNamespace(max_compute_units=threads, error=error, release=release)
    return SimpleNamespace(
        name=name, version=f"OpenCL 3.0 PoCL {release}  Linux, LLVM", get_devices=lambda: [device]
    )


@pytest.fixture
def platforms(monkeypatch):
    """The OpenCL platforms of a simulated machine."""
    found = []

    class NoPlatform(Exception):
        pass

    def get_platforms():
        if not found:
            raise NoPlatform("PLATFORM_NOT_FOUND_KHR")
        return found

    def compute(device) -> None:
        if device.error:
            raise RuntimeError(device.error)

    module = ModuleType("pyopencl")
    module.Error, module.get_platforms = NoPlatform, get_platforms
    monkeypatch.setitem(sys.modules, "pyopencl", module)
    monkeypatch.setattr(lazylinop, "_compute", compute)
    monkeypatch.setenv(lazylinop.POCL_THREADS, "2")
    lazylinop.usable_pocl.cache_clear()
    yield found
    lazylinop.usable_pocl.cache_clear()


def chosen_release() -> str:
    return lazylinop.usable_pocl(2)[1].release


def test_the_newest_pocl_is_taken(platforms) -> None:
    platforms += [platform("3.0-rc2"), platform("3.10+debian"), platform("3.2"), platform("9", name="other")]
    assert chosen_release() == "3.10+debian"


@pytest.mark.parametrize("works", ["3.0-rc2", "3.1+debian"])
def test_a_pocl_that_does_not_know_this_cpu_is_passed_over(platforms, works: str) -> None:
    platforms += [
        platform(name, None if name == works else UNKNOWN_CPU) for name in ("3.1+debian", "3.0-rc2")
    ]
    assert chosen_release() == works


def test_without_a_usable_pocl_the_reason_of_each_and_the_cure_are_given(platforms) -> None:
    platforms += [platform("3.0-rc2", UNKNOWN_CPU), platform("3.1+debian", threads=8)]
    with pytest.raises(UnsupportedError) as caught:
        lazylinop.usable_pocl(2)
    assert str(caught.value) == (
        "pocl 3.1: it computes on 8 threads instead of 2; "
        f"pocl 3.0: RuntimeError: error: unknown target CPU 'znver4'; {lazylinop.CURE}"
    )


def test_a_machine_without_opencl_is_given_the_cure(platforms) -> None:
    with pytest.raises(UnsupportedError, match="no pocl is found; .*apt install pocl-opencl-icd"):
        lazylinop.usable_pocl(2)

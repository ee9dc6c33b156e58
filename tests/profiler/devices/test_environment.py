"""The environment that makes two runs comparable."""

from kswatch.profiler.devices import environment
from kswatch.profiler.devices.discovery import cpu_target


def test_two_readings_of_one_machine_are_equal():
    assert environment.environment(cpu_target()) == environment.environment(cpu_target())


def test_the_cpu_has_threads_and_no_gpu_settings():
    found = environment.environment(cpu_target())
    assert found.threads >= 1
    assert (found.driver, found.cuda, found.power_limit_w, found.mig) == (None,) * 4
    assert None not in found.extra.values()

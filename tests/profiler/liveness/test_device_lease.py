"""The name of a device's holder, and when it counts as ended."""

import re
import subprocess
import sys

from kswatch.profiler.liveness.device_lease import has_ended, this_process


def test_a_running_process_has_not_ended():
    assert not has_ended(this_process())


def test_a_process_that_has_ended_is_recognised():
    code = "from kswatch.profiler.liveness.device_lease import this_process; print(this_process())"
    holder = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(", holder)
    assert has_ended(holder)


def test_a_later_process_of_the_same_number_is_not_the_holder():
    assert has_ended(re.sub(r"since \d{4}", "since 2001", this_process()))


def test_processes_of_other_hosts_are_never_assumed_to_have_ended():
    assert not has_ended("process 1 of elsewhere.example since 2001-01-01 00:00:00 UTC (kswatch serve)")

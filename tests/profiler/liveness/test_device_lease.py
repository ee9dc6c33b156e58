"""Who is told to hold a device, and when he counts as gone."""

import re
import subprocess
import sys

from kswatch.profiler.liveness.device_lease import is_gone, this_process


def test_a_process_that_lives_is_not_gone():
    assert not is_gone(this_process())


def test_a_process_that_has_ended_is_gone():
    tell = "from kswatch.profiler.liveness.device_lease import this_process; print(this_process())"
    told = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(", told)
    assert is_gone(told)


def test_a_later_process_of_the_same_number_is_not_the_holder():
    assert is_gone(re.sub(r"since \d{4}", "since 2001", this_process()))


def test_nothing_is_said_of_processes_of_other_hosts():
    assert not is_gone("process 1 of elsewhere.example since 2001-01-01 00:00:00 UTC (kswatch serve)")

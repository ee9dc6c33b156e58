"""The name of a process, and when that process counts as ended."""

import re
import shutil
import subprocess
import sys

import pytest

from kswatch.profiler.liveness.process_identity import has_ended, this_process

CODE = "from kswatch.profiler.liveness.process_identity import this_process; print(this_process())"
IDENTITY = re.compile(r"\[([0-9a-f]+)\.(\d+)\.(\d+)\]")


def test_a_running_process_has_not_ended():
    assert not has_ended(this_process())


def test_a_process_that_has_ended_is_recognised():
    holder = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \[", holder)
    assert has_ended(holder)


def test_a_killed_process_that_its_parent_has_not_collected_has_ended():
    code = f"{CODE.replace('print', 'import sys; print')}; sys.stdout.flush(); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    name = process.stdout.readline()
    assert not has_ended(name)
    process.kill()
    process.stdout.read()  # ends when the process has
    while not has_ended(name):  # a zombie by now; bounded by the time limit of the test
        pass
    process.communicate()
    assert has_ended(name)


def test_a_later_process_of_the_same_number_is_not_the_holder():
    boot, namespace, ticks = IDENTITY.search(this_process()).groups()
    later = this_process().replace(f"{boot}.{namespace}.{ticks}", f"{boot}.{namespace}.{int(ticks) - 1}")
    assert has_ended(later)


def test_a_corrected_clock_does_not_end_a_process():
    assert not has_ended(re.sub(r"since \d{4}", "since 2001", this_process()))


@pytest.mark.parametrize(
    "name",
    [
        "process 999999 of elsewhere.example since 2001-01-01 00:00:00 UTC (kswatch serve)",
        "process 999999 of elsewhere.example since 2001-01-01 00:00:00 UTC [00ff00ff.1.1] (kswatch serve)",
        "",
        "process x",
    ],
)
def test_processes_that_cannot_be_looked_up_are_never_assumed_to_have_ended(name):
    assert not has_ended(name)


def test_the_same_number_in_another_namespace_is_another_process():
    boot, namespace, ticks = IDENTITY.search(this_process()).groups()
    other = f"process 999999 of here since x UTC [{boot}.{int(namespace) + 1}.{ticks}] (kswatch)"
    assert not has_ended(other)
    assert has_ended(other.replace(str(int(namespace) + 1), namespace))


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_process_of_another_pid_namespace_takes_no_living_process_for_ended():
    name = this_process()
    check = f"from kswatch.profiler.liveness.process_identity import has_ended; print(has_ended({name!r}))"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", check]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "Operation not permitted" in done.stderr:
        pytest.skip("this user may not make namespaces")
    assert done.stdout.strip() == "False", done.stderr


def test_a_name_holds_no_character_that_a_terminal_or_a_column_refuses():
    code = f"import sys; sys.argv = ['x', '\\x1b[31m\\udcff' + 'y' * 500]; {CODE}"
    name = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert name.strip().isprintable() and len(name.strip()) <= 255

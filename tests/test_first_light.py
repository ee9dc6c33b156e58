"""The visit to a GPU: what is cut off, hangs or fails costs nothing but itself."""

from __future__ import annotations

import json
import sys
import time
import zipfile

import pytest

from tests import first_light
from tests.first_light import Stage, Told, Visit


@pytest.fixture
def visit(tmp_path):
    for folder in ("out", "copy", "out/tiles"):
        (tmp_path / folder).mkdir(exist_ok=True)
    return Visit(tmp_path / "out", tmp_path / "copy", "cuda", gpu=False, until=time.monotonic() + 60)


def program(name, text, limit_s=20.0, **options):
    return Stage(name, limit_s, (sys.executable, "-S", "-c", text), **{"needs_gpu": False, **options})


def test_a_stage_is_told_with_its_last_lines_and_its_code(visit):
    told = visit.run(program("fails", "print('first'); print('second'); raise SystemExit(3)"))
    assert (told.state, told.exit_code, told.said) == ("failed", 3, ["first", "second"])
    assert "==== fails" in (visit.out / "log.txt").read_text()


def test_what_hangs_is_ended_with_all_that_it_started_and_the_next_runs(visit):
    text = (
        "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])"
    )
    started = time.monotonic()
    assert visit.run(program("hangs", text, limit_s=0.5)).state == "hung"
    assert time.monotonic() - started < 10
    assert visit.run(program("next", "print('here')")).state == "done"


def test_a_stage_that_the_time_left_cuts_short_is_told_so(visit):
    visit.until = time.monotonic() + 0.5
    assert visit.run(program("long", "import time; time.sleep(60)")).state == "cut"


def test_what_is_cut_short_may_end_by_itself(visit):
    text = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("all is kept")))
print("begun", flush=True)
time.sleep(60)
"""
    assert visit.run(program("polite", text, limit_s=2)).said[-1] == "all is kept"


def test_what_is_not_here_is_told_and_not_run(visit):
    assert visit.run(program("gpu", "1 / 0", needs_gpu=True)).said == ["no NVIDIA GPU: not tried"]
    told = visit.run(program("tool", "1 / 0", needs_program="no-such-program"))
    assert told.state == "not here"


def test_the_summary_is_written_after_every_stage_and_copied(visit):
    visit.run(program("one", "print(1)"))
    visit.run(program("two", "print(2)"))
    for folder in (visit.out, visit.copy):
        document = json.loads((folder / "summary.json").read_text())
        assert [stage["name"] for stage in document["stages"]] == ["one", "two"]
    assert first_light.before(visit.out) == visit.told
    assert isinstance(visit.told["one"], Told)


def test_packages_of_a_folder_are_installed_for_the_stages_without_a_network(visit, tmp_path):
    with zipfile.ZipFile(tmp_path / "carried-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "print('carried here')")
        wheel.writestr(
            "carried-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n"
        )
        wheel.writestr("carried-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr("carried-1.0.dist-info/RECORD", "")
    assert visit.run(first_light.installing(tmp_path, visit.out)).state == "done"
    assert visit.run(program("uses it", "import carried")).said == ["carried here"]


def test_stages_have_names_of_their_own_and_fit_calls_of_ten_minutes(tmp_path):
    every = list(first_light.stages("cuda", tmp_path))
    assert len({stage.name for stage in every}) == len(every)
    assert max(stage.limit_s for stage in every) < 600

"""The command line as a shell sees it: exit codes, streams, signals and start-up, in real processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kswatch.db.store import Store
from tests.benchmarks.startup import help_seconds
from tests.ci.nights import Nights
from tests.db.sample_records import measured, night, problem, run_record

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "kswatch"]
DEFECT = """
from kswatch import cli
from kswatch.db.store import Store
from tests.benchmarks.startup import help_seconds

def broken(*arguments, **options):
    raise RuntimeError("planted defect")

Store.open = broken
cli.main()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables of a process that uses this checkout and a store of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KSWATCH_")}
    url = f"sqlite:///{tmp_path / 'kswatch.db'}"
    return kept | {"KSWATCH_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def store(environment: dict[str, str]):
    opened = Store.open(environment["KSWATCH_DATABASE_URL"])
    yield opened
    opened.close()


@pytest.fixture
def kswatch(environment: dict[str, str], tmp_path: Path):
    """Runs a command line in a process of its own."""

    def run(*arguments: str, command: list[str] = COMMAND, **variables: str):
        return subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def one_sentence(stderr: str) -> str:
    """The only line of an expected failure, without the program's name."""
    (line,) = stderr.splitlines()
    assert line.startswith("kswatch: ")
    return line.removeprefix("kswatch: ")


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_exit_with_0(kswatch, option: str) -> None:
    done = kswatch(option)
    assert (done.returncode, done.stderr) == (0, "") and "kswatch" in done.stdout


def test_an_incorrect_result_exits_with_1(kswatch, store: Store) -> None:
    run_id = store.begin_run(run_record())
    wrong = measured(problem(), "fused", status="incorrect", reason="off by 3")
    store.record_problem(run_id, [wrong, measured(problem(), "bmm", 1.0)])
    store.finish_run(run_id, "finished", 1.0)
    done = kswatch("check", "--run", str(run_id))
    assert done.returncode == 1, done.stderr
    assert "incorrect" in done.stdout


def test_a_confirmed_regression_exits_with_1_and_a_quiet_night_with_0(kswatch, store: Store) -> None:
    nights = Nights(store)
    nights.quiet(6)
    assert kswatch("check").returncode == 0
    nights.night({"fused": 1.2})
    assert kswatch("check").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "absent.toml", "runs"], "configuration file absent.toml does not exist"),
        (["profile", "no_such_suite", "--device", "cpu"], "no_such_suite"),
        (["profile", "--resume", "--batch", "8"], "omit the other options"),
        (["runs"], "does not exist"),
        (["gate"], "--base REV"),
    ],
)
def test_usage_and_configuration_errors_exit_with_2_and_one_sentence(kswatch, arguments, sentence) -> None:
    done = kswatch(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in one_sentence(done.stderr)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[profiler]\nsilly = 1\n", "unknown key 'silly' in [profiler]"),
        ("[profiling]\n", "unknown table [profiling]"),
        ('[ci]\nfloor = "high"\n', "ci.floor"),
        ("[ci\n", "cannot be read as TOML"),
    ],
)
def test_a_wrong_configuration_file_exits_with_2_and_its_cause(kswatch, tmp_path, text, sentence) -> None:
    (tmp_path / "kswatch.toml").write_text(text)
    done = kswatch("runs")
    assert done.returncode == 2
    assert sentence in one_sentence(done.stderr)


def test_an_unknown_option_exits_with_2(kswatch) -> None:
    done = kswatch("runs", "--no-such-option")
    assert done.returncode == 2
    assert "No such option: --no-such-option" in done.stderr and "Traceback" not in done.stderr


def test_a_device_that_is_not_here_exits_with_3(kswatch) -> None:
    done = kswatch("profile", "smoke", "--device", "GPU-of-another-host")
    assert (done.returncode, done.stdout) == (3, "")
    assert "GPU-of-another-host" in one_sentence(done.stderr)


def test_a_defect_exits_with_4_and_its_traceback_so_that_it_is_no_regression(kswatch) -> None:
    done = kswatch("runs", command=[sys.executable, "-c", DEFECT])
    assert (done.returncode, done.stdout) == (4, "")
    assert "RuntimeError: planted defect" in done.stderr
    assert "kswatch: this is a defect of kswatch, not a regression" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("table", "arguments"),
    [
        ("environment", ["runs", "--json"]),
        ("environment", ["export", "--all", "all.jsonl"]),
        ("device", ["export", "--all", "all.jsonl"]),
    ],
)
def test_a_store_that_lost_rows_is_damaged_and_no_defect(
    kswatch, store: Store, table: str, arguments: list[str]
) -> None:
    night(store, {"fused": 1.0, "bmm": 2.0})
    with closing(sqlite3.connect(str(store.engine.url.database))) as connection:
        connection.execute(f"DELETE FROM {table}")  # without foreign keys, as a damaged page leaves it
        connection.commit()
    done = kswatch(*arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "is damaged" in done.stderr and f"a row of {table} that does not exist" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "--json"], ["heuristics", "list"]])
def test_a_closed_pipe_ends_a_command_quietly(environment, store: Store, tmp_path, arguments) -> None:
    night(store, {"fused": 1.0, "bmm": 2.0})
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()  # as `| head -0` does
    assert process.stderr.read() == ""
    assert process.wait(60) == 0


def test_ctrl_c_exits_with_130(environment, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "simulate", "--nights", "400"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # as in a terminal: tests that a script started in the background ignore it, and their children too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    assert "night 10 of 400" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr and stderr.splitlines()[-1] == "kswatch: interrupted"


INTERRUPTED_RESET = """
from sqlalchemy import event
from sqlalchemy.pool import Pool

@event.listens_for(Pool, "reset")
def interrupt(*arguments):
    raise KeyboardInterrupt
"""
INTERRUPTED_FINALIZER = """
import signal, time

class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background lacks
cli.compose = lambda config: (bool(Finalized()), time.sleep(60))
"""


@pytest.mark.parametrize("planted", [INTERRUPTED_RESET, INTERRUPTED_FINALIZER])
def test_ctrl_c_ends_a_command_in_any_library_and_finalizer(environment, store, tmp_path, planted) -> None:
    script = f"import sys; from kswatch import cli{planted}\nsys.argv[1:] = ['runs']\ncli.main()"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stderr) == (130, "kswatch: interrupted\n")


def loaded_after(code: str) -> set[str]:
    """The modules that a fresh process has loaded after some code."""
    script = f"{code}\nimport json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_kswatch_loads_neither_torch_nor_the_command_line() -> None:
    loaded = loaded_after("import kswatch")
    assert not loaded & {"torch", "typer", "kswatch.cli", "kswatch.composition"}
    assert not any(name.startswith("kswatch.") for name in loaded)


def test_the_layer_is_imported_from_the_top() -> None:
    loaded = loaded_after("from kswatch import KSLinear; print(KSLinear.__module__)")
    assert "torch" in loaded and not loaded & {"typer", "kswatch.cli"}


def test_the_floor_loads_no_folder() -> None:
    loaded = loaded_after("import kswatch.errors, kswatch.logs, kswatch.services")
    ours = {name for name in loaded if name.startswith("kswatch.")}
    assert ours == {"kswatch.errors", "kswatch.logs", "kswatch.services"}


def test_help_loads_none_of_the_large_libraries() -> None:
    loaded = loaded_after("from kswatch import cli; cli.app(['--help'], standalone_mode=False)")
    assert not loaded & {"torch", "numpy", "sqlalchemy", "rich", "streamlit", "distributed", "logging"}
    assert "kswatch.db.records" not in loaded  # its classes take 8 ms to build


def test_help_takes_at_most_three_tenths_of_a_second_more_than_bare_python() -> None:
    assert help_seconds() < 0.3


def test_a_checkout_without_links_is_one_sentence_with_the_cure(tmp_path: Path) -> None:
    package = tmp_path / "kswatch"
    package.mkdir()
    for path in (ROOT / "kswatch").iterdir():
        if path.is_symlink():
            (package / path.name).write_text(str(path.readlink()))  # as git writes one without symbolic links
        elif path.suffix == ".py":
            (package / path.name).write_text(path.read_text())
    dependencies = Path(pytest.__file__).parents[1]
    command = [sys.executable, "-S", "-m", "kswatch", "doctor"]  # -S: no path file leads to this work tree
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{dependencies}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "symbolic links" in done.stderr and "core.symlinks true" in done.stderr

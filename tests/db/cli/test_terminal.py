"""What reaches a terminal, a CI log or a full disk; the streams are real ones where that matters."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from kswatch.db.cli.terminal import SafeStream, escape, make_console, without_commands
from kswatch.db.store import Store
from kswatch.errors import UsageError
from tests.db.sample_records import GPU, night

NASTY = "\x1b[2J\x1b]0;title\x07\u202egnp.exe\r\n::error title=x::y\x9b31m\x00"


def written(*texts):
    stream = io.StringIO()
    safe = SafeStream(stream)
    for text in texts:
        safe.write(text)
    return stream.getvalue()


def test_control_characters_are_written_by_their_code_and_lines_stay():
    assert written("a\tb\n") == "a\tb\n"
    text = written(NASTY)
    assert not set(text) & set("\x1b\x07\x9b\r\x00\u202e")
    assert "\\u001b[2J" in text and "\n\\::error" in text


@pytest.mark.parametrize(
    "text", ["::error::x", "  ::set-output name=a::b", "##[error]x", "##vso[task]x", "##teamcity[x]"]
)
def test_no_line_is_a_command_to_a_ci_runner(text):
    assert written(text).lstrip()[0] == "\\"
    assert written("a\n", text) == "a\n" + without_commands(text)
    assert written("name: ", text) == "name: " + text  # in the middle of a line it is none


def test_json_stays_json_with_the_same_values():
    values = {"name": NASTY, "median": "1 µs ± 2 %", "face": "😀"}
    text = json.dumps(values, ensure_ascii=False)
    assert json.loads(written(text)) == values
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    SafeStream(ascii_only).write(text)
    ascii_only.seek(0)
    assert json.loads(ascii_only.read()) == values


def test_a_rich_table_keeps_its_colours_and_escapes_its_cells(monkeypatch):
    from rich.table import Table

    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", SafeStream(stream))
    table = Table("name", title="t")
    table.add_row("\x1b[2Jx")
    console = make_console(width=80)
    console._force_terminal, console._color_system = True, None
    console.print(table)
    assert "\\u001b[2Jx" in stream.getvalue() and "\x1b[2J" not in stream.getvalue()


def test_escaping_twice_changes_nothing():
    assert escape(escape(NASTY)) == escape(NASTY)


@pytest.fixture
def named(tmp_path):
    """A store whose device has a hostile name, as an import may bring it."""
    store = Store.open(f"sqlite:///{tmp_path}/kswatch.db")
    night(store, {"fused": 1.0, "bmm": 2.0}, device=replace(GPU, model=NASTY.replace("\x00", "")))
    store.close()
    return {**os.environ, "KSWATCH_DATABASE_URL": f"sqlite:///{tmp_path}/kswatch.db"}


@pytest.mark.parametrize(
    "command", [["runs"], ["summary"], ["check", "--format", "github"], ["runs", "--json"]]
)
def test_a_hostile_name_steers_no_terminal(named, command, tmp_path):
    run = [sys.executable, "-m", "kswatch", *command]
    done = subprocess.run(run, env=named, capture_output=True, cwd=tmp_path, timeout=60)
    output = (done.stdout + done.stderr).decode()
    assert done.returncode in (0, 1), output
    assert not set(output) & set("\x1b\x07\x9b\r\x00\u202e")
    assert not any(line.strip().startswith("::error title=x") for line in output.splitlines())


def test_an_ascii_terminal_shows_everything(named, tmp_path):
    environment = named | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    run = [sys.executable, "-m", "kswatch", "summary"]
    done = subprocess.run(run, env=environment, capture_output=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


@pytest.mark.parametrize("size", ["²", "-1", "", "9" * 30, "80x", "٣٠"])
def test_a_size_of_the_terminal_that_is_none_is_forgotten(named, size, tmp_path):
    run = [sys.executable, "-m", "kswatch", "db", "stats"]
    environment = named | {"COLUMNS": size, "LINES": size}
    done = subprocess.run(run, env=environment, capture_output=True, cwd=tmp_path, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("command", [["runs", "--json"], ["--help"], ["summary"]])
def test_a_full_disk_behind_the_output_is_one_sentence(named, command, tmp_path):
    with open("/dev/full", "w") as full:
        run = [sys.executable, "-m", "kswatch", *command]
        done = subprocess.run(
            run, env=named, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, text=True, timeout=60
        )
    assert done.returncode == 2, done.stderr
    assert "the output cannot be written: No space left" in done.stderr and "Traceback" not in done.stderr


def test_a_slow_reader_of_a_non_blocking_pipe_gets_everything(named, tmp_path):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    run = [sys.executable, "-m", "kswatch", "--help"]
    with subprocess.Popen(run, env=named, stdout=writer, cwd=tmp_path) as process:
        os.close(writer)
        with os.fdopen(reader) as read:
            assert "Commands" in read.read()
    assert process.returncode == 0


def test_what_the_stream_cannot_do_is_raised_as_one_sentence():
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    with pytest.raises(UsageError, match="cannot be written"):
        SafeStream(Full()).write("x")

"""The door of the command line: hostile values of every parameter, damaged stores, hostile surroundings."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from kswatch.db.store import Store
from tests.conftest import Postgres
from tests.dashboard.simulated_store import Plan, fill
from tests.robustness.fuzz.cases import SECONDS, SEED, cases_for, faults_of, peak_mb, some_cases
from tests.robustness.fuzz.command_lines import (
    Runner,
    commands,
    random_environment,
    random_line,
    running,
    some_hostile_lines,
    wrong,
)
from tests.robustness.fuzz.hostile_values import URLS

PAGE = 4096
MOST_MB = 1_500
"""Memory of a process that runs command after command, torch and PostgreSQL's driver among them."""
PLAN = Plan(nights=2, patterns=1, regression_night=1, samples=4)
READINGS = (
    *(["runs"], ["runs", "--json"], ["summary"], ["db", "check"], ["db", "stats"], ["alerts", "--all"]),
    *(
        ["alerts", "show", "1"],
        ["history"],
        ["report"],
        ["check"],
        ["compare", "1", "2"],
        ["request", "--list"],
    ),
    *(["heuristics", "score"], ["export", "--all", "all.jsonl"], ["db", "backup", "copy.db"]),
    *(["check", "--rejudge"], ["runs", "note", "1", "text"], ["db", "prune", "--older-than-days", "1"]),
)


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two simulated nights, in one file."""
    path = tmp_path_factory.mktemp("whole") / "kswatch.db"
    store = Store.open(f"sqlite:///{path}")
    fill(store, PLAN)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    return path


@pytest.fixture(scope="module")
def runner(whole_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Command lines on a copy of that store, in a folder of their own."""
    folder = tmp_path_factory.mktemp("command lines")
    (folder / "empty").mkdir()
    with running(folder, f"sqlite:///{shutil.copy(whole_file, folder / 'kswatch.db')}") as started:
        yield started


def integer_options() -> list[tuple[str, object, object]]:
    """Every parameter that takes a whole number: its name, minimum and maximum."""
    return [
        (f"{' '.join(path)} {parameter.name}", parameter.min, parameter.max)
        for path, command in commands()
        for parameter in command.params
        if parameter.type_descriptor.annotation in (int, float, list[int], list[float])
    ]


def test_every_whole_number_of_a_command_has_a_least_and_a_largest_value() -> None:
    found = integer_options()
    assert len(found) > 30
    assert [name for name, least, largest in found if least is None or largest is None] == []


def test_hostile_values_of_parameters_end_in_a_sentence(runner: Runner) -> None:
    assert runner.faults(some_hostile_lines(seed=1, number=50)) == []


def fault_of(runner: Runner, whole: Path, servers: str, folder: Path, randomness: random.Random) -> str:
    """What a hostile command line, environment or store did that it must not."""
    line = random_line(randomness)
    kind, environment = randomness.randrange(4), {}
    path = folder / "damaged.db"
    if kind == 0:
        line = randomness.choice((*READINGS, line))
        path.write_bytes(damaged(whole.read_bytes(), randomness))
        environment["KSWATCH_DATABASE_URL"] = f"sqlite:///{path}"
    elif kind == 1:
        environment |= random_environment(randomness)
    elif kind == 2:
        environment["KSWATCH_DATABASE_URL"] = servers
    found = runner.faults([line], **environment)
    for left in (path, *folder.glob("damaged.db-*"), folder / "copy.db", folder / "all.jsonl"):
        left.unlink(missing_ok=True)
    return f"{environment!r:.300}, {found[0]}" if found else ""


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS + 300)
def test_hostile_commands_end_in_a_sentence_for_minutes(
    runner: Runner,
    whole_file: Path,
    postgres: Postgres,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    def count(number: int) -> None:
        record_property("figure", f"fuzzed commands: {number:,} lines of seed {SEED}, at most {peak:.0f} MB")

    url, peak = postgres.create(), 0.0
    store = Store.open(url)
    fill(store, PLAN)
    store.close()

    def fault(randomness: random.Random) -> str:
        nonlocal peak
        found = fault_of(runner, whole_file, url, tmp_path, randomness)
        peak = peak_mb(runner.pid)
        return found

    assert faults_of(cases_for(SECONDS), fault, count) == ""
    assert peak < MOST_MB


@pytest.mark.parametrize(
    "line",
    [
        ["history", "--days", "100000000000"],
        ["alerts", "precision", "--days", "999999999"],
        ["db", "prune", "--older-than-days", "2147483647"],
        ["simulate", "--seed=-1"],
        ["simulate", "--plant", "fused:-150%@1"],
        ["simulate", "--plant", "fused:+5%@30-20"],
        ["simulate", "--nights", "10", "--plant", "fused:+5%@10"],
        ["summary", "--run", "9" * 20],
        ["runs", "note", "1" * 400, "text"],
        ["request", "smoke", "--priority", "9" * 12],
    ],
)
def test_a_number_that_means_nothing_is_refused(runner: Runner, line: list[str]) -> None:
    answer = runner.run(line)
    assert answer["code"] == 2 and not wrong(answer)


@pytest.mark.parametrize(
    "line", [["runs", "--device"], ["runs", "--limit"], ["compare", "1"], ["export", "--all"]]
)
def test_an_error_repeats_a_long_argument_in_part(runner: Runner, line: list[str]) -> None:
    answer = runner.run([*line, "x" * 50_000])
    assert answer["code"] == 2 and not wrong(answer)
    assert len(answer["stderr"]) < 3_000


def test_hostile_addresses_of_a_store_end_in_a_sentence(runner: Runner) -> None:
    answers = [(url, runner.run(["runs"], KSWATCH_DATABASE_URL=url)) for url in URLS]
    assert [(url, answer) for url, answer in answers if wrong(answer)] == []


def damaged(content: bytes, randomness: random.Random) -> bytes:
    """The content of a file after a fault of a disk, of a copy, or of a hand."""
    changed, kind = bytearray(content), randomness.randrange(5)
    page = PAGE * randomness.randrange(len(content) // PAGE)
    if kind == 0:
        return content[: randomness.randrange(len(content))]
    if kind == 1:
        changed[page : page + PAGE] = bytes(PAGE)
    elif kind == 2:
        other = PAGE * randomness.randrange(len(content) // PAGE)
        changed[page : page + PAGE] = content[other : other + PAGE]
    elif kind == 3:
        for at in randomness.choices(range(len(content)), k=randomness.choice((1, 10, 300))):
            changed[at] = randomness.randrange(256)
    else:
        for at in randomness.choices(range(page, page + PAGE), k=20):
            changed[at] = randomness.randrange(256)
    return bytes(changed)


def damage_fault_of(runner: Runner, whole: Path, folder: Path, randomness: random.Random) -> str:
    """What some reading commands on a damaged copy of a store did that they must not."""
    content, path = damaged(whole.read_bytes(), randomness), folder / "damaged.db"
    for line in randomness.sample(READINGS, 3):
        path.write_bytes(content)
        found = runner.faults([line], KSWATCH_DATABASE_URL=f"sqlite:///{path}")
        for left in (*folder.iterdir(), folder / "copy.db"):
            left.unlink(missing_ok=True)
        if found:
            return found[0]
    return ""


def test_a_damaged_store_is_reported_in_a_sentence(runner: Runner, whole_file: Path, tmp_path: Path) -> None:
    fault = partial(damage_fault_of, runner, whole_file, tmp_path)
    assert faults_of(some_cases(8), fault) == ""


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS + 300)
def test_damaged_stores_are_reported_in_a_sentence_for_minutes(
    runner: Runner, whole_file: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    def count(number: int) -> None:
        record_property("figure", f"damaged stores: {number:,} files of seed {SEED}")

    fault = partial(damage_fault_of, runner, whole_file, tmp_path)
    assert faults_of(cases_for(SECONDS), fault, count) == ""


def test_a_store_of_0_bytes_is_not_intact(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "kswatch.db").touch()
    answer = runner.run(["db", "check"], KSWATCH_DATABASE_URL=f"sqlite:///{tmp_path / 'kswatch.db'}")
    assert answer["code"] == 2 and "0 bytes" in answer["stderr"]
    assert (tmp_path / "kswatch.db").stat().st_size == 0


@pytest.mark.parametrize("form", ["link", "pipe", "device"])
def test_an_export_replaces_nothing_but_a_file(runner: Runner, tmp_path: Path, form: str) -> None:
    path = tmp_path / "all.jsonl"
    if form == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif form == "pipe":
        os.mkfifo(path)
    else:
        path = Path("/dev/null")
    before = path.lstat()
    answer = runner.run(["export", "--all", str(path)])
    assert answer["code"] == 2 and "would replace" in answer["stderr"]
    assert path.lstat().st_ino == before.st_ino and path.lstat().st_mode == before.st_mode


@pytest.mark.parametrize("name", ["what?", "a#b", "50%41", "ünï", "a b", "\udcff", "a@b:c"])
def test_a_store_lies_in_the_folder_of_its_configuration_whatever_the_name(tmp_path: Path, name: str) -> None:
    from kswatch.configuration import database_url
    from kswatch.db.config import DbConfig

    folder = tmp_path / name
    folder.mkdir()
    store = Store.open(database_url(DbConfig(), folder / "kswatch.toml"))
    store.close()
    assert [path.name for path in folder.iterdir()] == ["kswatch.db"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_command_runs_without_a_home_and_a_name(runner: Runner) -> None:
    without = {
        "HOME": "/nowhere",
        "USER": "",
        "LOGNAME": "",
        "LNAME": "",
        "USERNAME": "",
        "XDG_CACHE_HOME": "",
    }
    lines = [["runs"], ["request", "smoke"], ["runs", "note", "1", "text"], ["profile", "smoke", "--dry-run"]]
    assert runner.faults(lines, **without) == []

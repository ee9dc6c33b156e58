"""A store of version 0.1.0 goes on with the version at hand: nothing is lost, every command gives the same.

Only the command line is used, as by people and scripts, so that no module's name matters.
`stored_0_1_0/README.md` lists what the store holds.
"""

from __future__ import annotations

import fnmatch
import gzip
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

STORED = Path(__file__).parent / "stored_0_1_0"
MANIFEST: list[dict[str, Any]] = json.loads((STORED / "manifest.json").read_text())
NUMBERS: dict[str, Any] = json.loads((STORED / "numbers.json").read_text())
"""Of runs, requests and alerts, by what they are."""
EXPORTS = {"everything.jsonl.gz": "jsonl_measurements", "various.csv.gz": "csv_measurements"}
"""By file: the number of its measurements, as `NUMBERS` names it."""
REWORDED = {
    "advise*": ["why", "caveats/*", "factors/*/why", "factors/*/caveats/*"],
    "check*": ["*/reason"],
}
"""By command: sentences for people that are composed anew, and have been reworded since."""
DECIDED_ANEW = {
    "heuristics-score*": ["5/*", "6/*"],
    "advise*": [
        f"{prefix}{key}"
        for prefix in ("", "factors/*/")
        for key in ("implementation", "heuristic", "predicted_speedup", "energy_gain", "metric", "confidence")
    ]
    + ["caveats", "factors/*/caveats"],
    "dry-run": ["minutes", "minutes_of_all"],
}
"""By command: what the shipped model decides. It was fitted again, and claims nothing far from its data; and
the estimate of a run, which is made of its problems' sizes."""
ROOT = Path(__file__).parents[2]

MANY_COMMANDS = """
import contextlib, io, json, os, runpy, sys

answers = []
for url, arguments in json.load(sys.stdin):
    os.environ["KSWATCH_DATABASE_URL"], sys.argv = url, ["kswatch", *arguments]
    code, output = 0, io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            runpy.run_module("kswatch", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            code = end.code or 0
    answers.append([code, output.getvalue()])
json.dump(answers, sys.stdout)
"""
"""`python -m kswatch` again and again in one process: importing it anew takes longer than most commands."""

NEVER_NIGHTLY = """
[profiler]
devices = ["sim:h200"]
nightly_cron = "0 0 29 2 *"
poll_s = 0.1
"""


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    exit_code: int
    output: str

    @property
    def document(self) -> Any:  # noqa: ANN401  (JSON)
        """Its one JSON document."""
        return json.loads(self.output)


def copied(folder: Path) -> Path:
    """A copy of the stored store."""
    path = folder / "store.db"
    path.write_bytes(gzip.decompress((STORED / "store.db.gz").read_bytes()))
    return path


def variables(path: Path | None = None) -> dict[str, str]:
    """The environment of a command on this store, with no channel or configuration of the tester's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KSWATCH_")}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
    return kept | ({"KSWATCH_DATABASE_URL": f"sqlite:///{path}"} if path else {})


def answers(folder: Path, asked: Sequence[tuple[Path, Sequence[str]]]) -> list[Answer]:
    """What each command gives on its store, one after the other."""
    lines = [(f"sqlite:///{path}", list(arguments)) for path, arguments in asked]
    done = subprocess.run(
        [sys.executable, "-c", MANY_COMMANDS],
        cwd=folder,
        env=variables(),
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Answer(*one) for one in json.loads(done.stdout)]


def all_of(path: Path, *commands: str) -> list[Answer]:
    """What these commands give on one store, one after the other."""
    return answers(path.parent, [(path, command.split()) for command in commands])


def differences(
    stored: object, now: object, varies: Sequence[str] = (), at: tuple[str, ...] = ()
) -> Iterator[str]:
    """Where what is given now differs from what was stored; more keys than before are no difference.

    Args:
        stored: a JSON value.
        now: the same of today.
        varies: paths, as `growth/*/bytes`, of what depends on time or place: only its type is held.
        at: the path of both.
    """
    place = "/".join(at)
    if any(fnmatch.fnmatchcase(place, pattern) for pattern in varies):
        if type(stored) is not type(now):
            yield f"{place}: {type(now).__name__} in place of {type(stored).__name__}"
    elif isinstance(stored, dict) and isinstance(now, dict):
        yield from (f"{place}/{key}: is missing" for key in stored.keys() - now.keys())
        for key in stored.keys() & now.keys():
            yield from differences(stored[key], now[key], varies, (*at, key))
    elif isinstance(stored, list) and isinstance(now, list):
        if len(stored) != len(now):
            yield f"{place}: {len(now)} in place of {len(stored)}"
        for index, pair in enumerate(zip(stored, now, strict=False)):
            yield from differences(*pair, varies, (*at, str(index)))
    elif not _is_equal(stored, now):
        yield f"{place}: {now!r} in place of {stored!r}"


def _is_equal(stored: object, now: object) -> bool:
    if isinstance(stored, float) and isinstance(now, int | float):
        return math.isclose(stored, now, rel_tol=1e-6, abs_tol=1e-12)
    return type(stored) is type(now) and stored == now


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of the stored store."""
    return copied(tmp_path)


def test_the_store_opens_is_upgraded_and_is_whole(store: Path):
    upgraded, checked = all_of(store, "db upgrade", "db check")
    assert (upgraded.exit_code, checked.exit_code) == (0, 0)
    assert "the newest" in upgraded.output and "is intact" in checked.output


def test_every_command_gives_what_it_gave(store: Path):
    """Those that write have a copy of the store each."""
    asked = []
    for row in MANIFEST:
        (own := store.parent / row["name"]).mkdir()
        asked.append((copied(own) if row["writes"] else store, row["arguments"]))
    given = answers(store.parent, asked)
    found = {row["name"]: now_differs(row, now) for row, now in zip(MANIFEST, given, strict=True)}
    assert not any(found.values()), {name: lines[:5] for name, lines in found.items() if lines}


def now_differs(row: dict[str, Any], now: Answer) -> list[str]:
    """Where a command of the manifest gives something else than version 0.1.0."""
    if now.exit_code != row["exit_code"]:
        return [f"exits with {now.exit_code} in place of {row['exit_code']}"]
    stored = json.loads(gzip.decompress((STORED / row["file"]).read_bytes()))
    found = differences(stored, now.document, [*row["varies"], *_paths(REWORDED, row["name"])])
    anew = _paths(DECIDED_ANEW, row["name"])
    return [line for line in found if not any(fnmatch.fnmatchcase(line.split(": ")[0], one) for one in anew)]


def _paths(by_command: Mapping[str, Sequence[str]], name: str) -> list[str]:
    return [
        path for pattern, paths in by_command.items() if fnmatch.fnmatchcase(name, pattern) for path in paths
    ]


def test_a_second_check_opens_no_alert_and_has_no_news(store: Path):
    check, alerts = "check --json", "alerts --all --json"
    first, before, second, after = all_of(store, check, alerts, check, alerts)
    assert first.exit_code == second.exit_code == 1
    assert before.document == after.document
    assert {row.get("news") for row in second.document} == {None}
    assert {row["run"] for row in second.document} == {row["run"] for row in first.document}


def test_a_confirmation_measured_in_turns_is_answered_by_judging_its_last_run(store: Path):
    show = f"alerts show {NUMBERS['in_turns_alert']} --json"
    before, judged, after = all_of(store, show, f"check --run {NUMBERS['in_turns_head']} --json", show)
    assert not before.document["confirmed"]
    assert judged.exit_code == 1 and after.document["confirmed"]
    assert after.document["events"][-1]["action"] == "confirmed"
    assert "interleaved with the last good revision" in after.document["events"][-1]["reason"]


# ---------------------------------------------------------------- serving


@dataclass(frozen=True)
class Served:
    """The store after a server has taken what waited in it."""

    requests: dict[int, dict[str, Any]]
    runs: dict[int, dict[str, Any]]
    alerts: dict[str, dict[str, Any]]
    """The alerts of the confirmations, by their names in `NUMBERS`."""

    def request(self, name: str) -> dict[str, Any]:
        """The request that `NUMBERS` names so."""
        return self.requests[NUMBERS[name]]


AWAITED = ("open_confirmation", "unanswered_confirmation", "queued")
SHOWN = ("open_alert", "unanswered_alert")


@contextmanager
def serving(path: Path) -> Iterator[subprocess.Popen[str]]:
    """`kswatch serve` on a store, ended politely; its nightly is due on no day of the next years."""
    (path.parent / "kswatch.toml").write_text(NEVER_NIGHTLY)
    command = [sys.executable, "-m", "kswatch", "serve"]
    with subprocess.Popen(
        command, cwd=path.parent, env=variables(path), stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            _, errors = server.communicate(timeout=60)
    assert server.returncode == 0, errors


def after_serving(path: Path) -> Served:
    """What the store holds when a server has ended the awaited requests."""
    with serving(path) as server:
        _wait_for_the_end(path, server)
    shown = [f"alerts show {NUMBERS[name]} --json" for name in SHOWN]
    found = all_of(path, "request --list --json", "runs --json", *shown)
    requests, runs, *alerts = (one.document for one in found)
    return Served(
        {one["request"]: one for one in requests},
        {one["run"]: one for one in runs},
        dict(zip(SHOWN, alerts, strict=True)),
    )


def _wait_for_the_end(path: Path, server: subprocess.Popen[str]) -> None:
    """Until no awaited request is queued or running: read from the file, since a command takes a second."""
    awaited = [NUMBERS[name] for name in AWAITED]
    query = "SELECT count(*) FROM request WHERE state IN ('queued', 'running') AND id IN (?, ?, ?)"
    ends = time.monotonic() + 200
    while server.poll() is None and time.monotonic() < ends:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            if connection.execute(query, awaited).fetchone() == (0,):
                return
        time.sleep(0.1)
    raise AssertionError("the server has not ended the requests in 200 seconds")


@pytest.mark.slow
def test_serve_ends_the_queued_request_and_answers_both_confirmations(store: Path):
    """One server for all three, since starting one and its measuring process takes longest."""
    served = after_serving(store)
    assert_the_queued_request_is_measured(served)
    assert_the_open_confirmation_is_measured_and_dismisses_its_alert(served)
    assert_what_a_killed_server_had_measured_answers_its_alert(served)


def assert_the_queued_request_is_measured(served: Served) -> None:
    request = served.request("queued")
    assert (request["state"], request["cells_done"]) == ("done", 2)
    run = served.runs[request["run"]]
    assert (run["state"], run["kind"], run["device"], run["cells"]) == ("finished", "ad_hoc", "sim-h200", 2)
    assert run["arguments"]["pattern"] == ["6,64,64,1"]


def assert_the_open_confirmation_is_measured_and_dismisses_its_alert(served: Served) -> None:
    request, alert = served.request("open_confirmation"), served.alerts["open_alert"]
    assert request["state"] == "done" and request["run"] not in (None, request["arguments"]["of_run"])
    run = served.runs[request["run"]]
    assert (run["state"], run["kind"], run["device"]) == ("finished", "confirm", "sim-h200")
    assert (alert["state"], alert["confirmed"]) == ("resolved", False), "the simulated device is not slower"
    event = alert["events"][-1]
    assert event["action"] == "dismissed" and event["reason"].startswith(f"run {run['run']}: ")
    assert "; without the last good revision: " in event["reason"], "its commits are of no repository"


def assert_what_a_killed_server_had_measured_answers_its_alert(served: Served) -> None:
    request, alert = served.request("unanswered_confirmation"), served.alerts["unanswered_alert"]
    assert (request["state"], request["run"]) == ("done", NUMBERS["unanswered_run"])
    measured = [one for one in served.runs.values() if one["request"] == request["request"]]
    assert len(measured) == 1, "it is not measured once more"
    event = alert["events"][-1]
    # it reproduced, but of one series alone, without the last good revision: other nights decide
    assert (alert["state"], alert["confirmed"], event["action"]) == ("open", False, "measured again")
    assert "; without the last good revision: both nights are of revision" in event["reason"]


# ---------------------------------------------------------------- exports


@pytest.mark.parametrize(
    "name", ["various.csv.gz", pytest.param("everything.jsonl.gz", marks=pytest.mark.slow)]
)
def test_an_export_is_taken_into_an_empty_store_once(tmp_path: Path, name: str):
    once, twice, check = all_of(tmp_path / "empty.db", *[f"import {STORED / name} --json"] * 2, "db check")
    assert (once.exit_code, twice.exit_code, check.exit_code) == (0, 0, 0)
    counts_agree(once.document, NUMBERS[EXPORTS[name]])
    counts_agree(twice.document, NUMBERS[EXPORTS[name]])
    assert (once.document["rejected"], once.document["duplicates"]) == (0, 0)
    assert (twice.document["recorded"], twice.document["duplicates"]) == (0, twice.document["read"])


def test_the_store_holds_all_of_its_exports(store: Path):
    again = all_of(store, *(f"import {STORED / name} --json" for name in EXPORTS))
    for answer, number in zip(again, EXPORTS.values(), strict=True):
        counts_agree(answer.document, NUMBERS[number])
        assert (answer.document["duplicates"], answer.document["runs"]) == (NUMBERS[number], [])


def counts_agree(counts: dict[str, Any], measurements: int) -> None:
    """Every row that was read is one of four things."""
    names = ("recorded", "implausible", "rejected", "duplicates")
    assert counts["read"] == sum(counts[name] for name in names) == measurements

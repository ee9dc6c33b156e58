"""Writes the store of version 0.1.0, its exports and the outputs of its commands.

Only meaningful at commit 2807ff2: it imports modules by the names that they had there. It is kept to show
how the files beside it came about, not to be run again. In a clone of that commit:

    export PYTHONPATH=$PWD LOGNAME=nightly
    unshare --uts sh -c 'hostname host-a; python /some/folder/generate.py /some/folder'

The host name and the user are set because runs, leases and requests store them.
"""
# ruff: noqa: I001  (the module names of that commit are nothing that ruff knows now)

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from ci import simulate, simulated_nights
from ci.simulated_nights import Plant
from db import queries
from db.care import prune_samples
from db.store import Store
from tests.dashboard import simulated_store
from planted_requests import (
    answered,
    gate,
    imported,
    machine_code,
    measured_alone_and_not_answered,
    measured_in_turns_and_not_answered,
    messages,
    queue,
    sim_nights,
)
from planted_nights import CONFIG, ROOT, causes, heuristics, lives_of_alerts, silences


def reading_commands(numbers: dict[str, int]) -> list[tuple[str, str]]:
    """Commands that only read: name and arguments."""
    cell = "6,64,64,1 --batch 1024 --precision fp32 --layout batch_first --device sim-h200"
    return [
        ("summary-cpu", "summary --device cpu*"),
        ("summary-run-cpu", f"summary --run {numbers['cpu']}"),
        ("summary-energy", "summary --device sim-a100-0000 --metric energy"),
        (
            "summary-filtered",
            "summary --device sim-a100-0000 --precision bf16 --layout batch_last --baselines bmm,dense",
        ),
        ("summary-sim", "summary --device sim-h200"),
        ("heuristics-score", "heuristics score --device sim-a100-0000"),
        (
            "heuristics-score-filtered",
            "heuristics score --device sim-a100-0000 --metric energy --precision fp32 --layout batch_first",
        ),
        ("heuristics-score-run", f"heuristics score --run {numbers['heuristic']}"),
        ("advise", f"advise {cell}"),
        ("advise-energy", f"advise {cell} --metric energy"),
        ("advise-chain", "advise 1,192,48,2 6,64,64,1 --batch 1024 --device sim-h200"),
        ("alerts", "alerts"),
        ("alerts-all", "alerts --all"),
        ("alerts-of-a-device", "alerts --all --device GPU-seen-again"),
        ("alerts-precision", "alerts precision"),
        ("outbox", "alerts outbox"),
        ("outbox-all", "alerts outbox --all"),
        ("runs", "runs"),
        ("runs-of-a-device", "runs --device sim-h200 --kind nightly --limit 3"),
        ("runs-confirm", "runs --kind confirm --kind gate"),
        ("requests", "request --list"),
        ("compare", f"compare {numbers['sim_before']} {numbers['sim_flagged']}"),
        ("compare-gate", f"compare {numbers['gate_base']} {numbers['gate_head']}"),
    ]


def commands(numbers: dict[str, int]) -> list[dict[str, object]]:
    """What is asked of the store: name, arguments, whether it writes, and what depends on time or place."""
    stats_vary = ["store", "schema", "bytes", "bytes_by_table", "growth/*/bytes"]
    found: list[dict[str, object]] = [
        {"name": name, "arguments": [*text.split(), "--json"], "writes": False, "varies": []}
        for name, text in reading_commands(numbers)
    ]
    for row in found:
        row["arguments"] = [numbers["cpu_uuid"] if one == "cpu*" else one for one in row["arguments"]]
    for alert in numbers["shown"]:
        found.append(
            {
                "name": f"alert-{alert}",
                "arguments": ["alerts", "show", str(alert), "--json"],
                "writes": False,
                "varies": [],
            }
        )
    found.append(
        {"name": "db-stats", "arguments": ["db", "stats", "--json"], "writes": False, "varies": stats_vary}
    )
    dry = ["profile", "smoke", "--device", "sim:h200", "--pattern", "6,64,64,1", "--dry-run", "--json"]
    found.append({"name": "dry-run", "arguments": dry, "writes": False, "varies": []})
    for name, text in (
        ("check", "check"),
        ("check-simulated", "check --device sim-h200"),
        ("check-run", f"check --run {numbers['cpu']}"),
        ("check-answers-in-turns", f"check --run {numbers['in_turns_head']}"),
        ("check-rejudge", "check --rejudge --device GPU-confirmed-by-the-next-night"),
        ("cancel", f"cancel {numbers['queued']} --why later --who ann"),
        ("request", "request smoke --device sim:h200 --pattern 6,64,64,1 --why again --who ann"),
        ("request-like", f"request --like {numbers['sim_flagged']} --who ann"),
    ):
        varies = ["asked_at", "finished_at"] if name in ("cancel", "request", "request-like") else []
        found.append({"name": name, "arguments": [*text.split(), "--json"], "writes": True, "varies": varies})
    return found


def write_outputs(store_file: Path, output: Path, folder: Path, rows: list[dict[str, object]]) -> None:
    """Each command on a copy of the store, its output gzipped, and the manifest."""
    (output / "outputs").mkdir(exist_ok=True)
    for row in rows:
        copy = shutil.copy(store_file, folder / "copy.db")
        done = _kswatch(folder, Path(copy), *row["arguments"])
        if done.returncode not in (0, 1) or not done.stdout.strip():
            raise SystemExit(f"{row['name']}: {done.returncode} {done.stderr[-800:]}")
        json.loads(done.stdout)
        row |= {"exit_code": done.returncode, "file": f"outputs/{row['name']}.json.gz"}
        _gzip(output / str(row["file"]), done.stdout.replace(f"{folder}/", "").encode())
        print(row["name"], done.returncode, len(done.stdout))
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    (output / "manifest.json").write_text(f"[\n{lines}\n]\n")


def _gzip(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, 9, mtime=0))


def _kswatch(folder: Path, store_file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "KSWATCH_DATABASE_URL": f"sqlite:///{store_file}"}
    command = [sys.executable, str(ROOT / "kswatch.py"), *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def export(kswatch, folder: Path, output: Path, name: str, *which: str) -> int:
    """Write an export; gives how many measurements it holds."""
    written = json.loads(kswatch("export", *which, name, "--json"))["measurements"]
    _gzip(output / name, gzip.decompress((folder / name).read_bytes()))
    return written


# ---------------------------------------------------------------- the story


def confirmations(store: Store, numbers: dict[str, object]) -> None:
    """Requests to confirm in each stage; adds their numbers."""
    numbers["open_confirmation"] = sim_nights(store, "sim:h200", "fused=1.06", same_revision=False)
    flagged = queries.request(store, numbers["open_confirmation"]).arguments["of_run"]
    numbers |= {"sim_flagged": flagged, "sim_before": flagged - 1}
    unanswered = sim_nights(store, "sim:h200:2", "fused=1.06", same_revision=True)
    numbers["unanswered_confirmation"] = unanswered
    numbers["unanswered_run"] = measured_alone_and_not_answered(
        store, unanswered, "sim:h200:2?seed=99&fused=1.15"
    )
    numbers["in_turns_head"] = measured_in_turns_and_not_answered(store)
    numbers["in_turns_confirmation"] = queries.run(store, numbers["in_turns_head"]).request_id
    print("confirmations done", time.monotonic() - BEGAN)
    numbers["answered_confirmation"] = answered(store)
    for name in ("open", "unanswered", "in_turns", "answered"):
        of_run = queries.request(store, numbers[f"{name}_confirmation"]).arguments["of_run"]
        (numbers[f"{name}_alert"],) = (
            one.id for one in queries.alerts(store) if one.opened_run_id == of_run and one.cause == "code"
        )


def fill(store: Store, folder: Path, kswatch) -> dict[str, object]:
    """Everything that the store holds; gives the numbers that commands name."""
    numbers: dict[str, object] = {}
    cpu = ("profile", "smoke", "--device", "cpu", "--pattern", "2,48,192,1", "--pattern", "6,64,64,1")
    few_samples = folder / "kswatch.toml"
    few_samples.write_text("[profiler]\nhalf_width = 0.05\ncell_cap_ms = 60.0\n")
    kswatch(*cpu, "--precision", "fp32", "--layout", "batch_first", "--budget", "60s", "--hot")
    few_samples.unlink()
    numbers["cpu"], numbers["cpu_uuid"] = 1, queries.run(store, 1).device_uuid
    imported(folder, kswatch)
    print("cpu and imports done", time.monotonic() - BEGAN)
    simulated_store.fill(
        store,
        simulated_store.Plan(
            devices=("sim-a100",), nights=3, patterns=3, samples=4, hot=True, regression_night=2
        ),
    )
    lives_of_alerts(store)
    causes(store)
    heuristics(store)
    numbers["heuristic"] = queries.runs(store, queries.find_device(store, "GPU-heuristic").id, limit=1)[0].id
    messages(store)
    print("planted done", time.monotonic() - BEGAN)
    simulated_nights.PROBLEMS = simulated_nights.PROBLEMS[:5]
    simulate.simulate(store, 22, [Plant.parse("fused:+2.4%@15-16"), Plant.parse("bmm:+6%@20")], CONFIG)
    gate(folder, kswatch)
    base, head = sorted(one.id for one in queries.runs(store, kinds=("gate",)))[-2:]
    numbers |= {"gate_base": base, "gate_head": head}
    print("gate done", time.monotonic() - BEGAN)
    confirmations(store, numbers)
    silences(store)
    machine_code(store)
    numbers |= queue(store, kswatch)
    shown = {}
    for alert in queries.alerts(store):
        shown.setdefault((alert.cause, alert.verdict, alert.state), alert.id)
    numbers["shown"] = sorted(shown.values())
    names = ("sim-a100-0000", "sim-h200", "GPU-statuses", "GPU-open", "GPU-measured-in-turns")
    several = {queries.find_device(store, name).id for name in names}
    kinds = ("nightly", "confirm")
    numbers["various"] = sorted(
        one.id for one in queries.runs(store, limit=None) if one.device_id in several or one.kind not in kinds
    )
    prune_samples(store, datetime(2026, 6, 1, tzinfo=UTC))
    return numbers


def main() -> None:
    output = Path(sys.argv[1]).resolve()
    assert socket.gethostname() == "host-a" and os.environ["LOGNAME"] == "nightly", __doc__
    sys.argv = ["kswatch"]  # stored with leases
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "store.db"

        def kswatch(*arguments: str) -> str:
            done = _kswatch(folder, file, *arguments)
            assert done.returncode in (0, 1), done.stderr
            return done.stdout

        store = Store.open(f"sqlite:///{file}")
        numbers = fill(store, folder, kswatch)
        store.close()
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("VACUUM")
        numbers["jsonl_measurements"] = export(kswatch, folder, output, "everything.jsonl.gz", "--all")
        some = [word for run in numbers.pop("various") for word in ("--run", str(run))]
        numbers["csv_measurements"] = export(kswatch, folder, output, "various.csv.gz", *some)
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        _gzip(output / "store.db.gz", file.read_bytes())
        (output / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n")
        write_outputs(file, output, folder, commands(numbers))


BEGAN = time.monotonic()
if __name__ == "__main__":
    main()

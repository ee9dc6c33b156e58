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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ci import simulate, simulated_nights
from ci.check import judge
from ci.config import CiConfig
from ci.confirming import ask_again
from ci.silence import look_for_silence
from ci.simulated_nights import Plant
from db import alert_life, code, leases, lost_workers, outbox, paired_ratios, queries, requests
from db import request_events, run_events, run_log, schedule_marks, tuned_tiles, workers
from db.alert_life import act
from db.care import prune_samples
from db.paired import PairedReading
from db.queries_code import ResourceRow
from db.records import (
    CounterReading,
    DeviceRecord,
    MeasurementRecord,
    PredictionRecord,
    ProblemKey,
    RevisionRecord,
)
from db.store import Store
from db.verdicts import newest_points
from profiler.request_run import measure_request, run_requests
from profiler.session import Surroundings, run_suite
from tests.ci.nights import PROBLEMS, START, Nights
from tests.dashboard import simulated_store
from tests.profiler import scratch_clone

CONFIG = CiConfig()
SLOWER, SMALL = {"fused": 1.1}, {"fused": 1.025}
TWO = (PROBLEMS[0], PROBLEMS[4])
FEW = ("fused", "bmm")
WHO = "ann"
MUTED_UNTIL = datetime(2099, 1, 1, tzinfo=UTC)
SIM_CELLS = {
    "problem": [f"{pattern},1024,fp32,batch_first" for pattern in ("6,64,64,1", "1,128,128,3", "2,96,96,4")],
    "implementation": ["fused", "bmm", "bmm_strided"],
}
ROOT = Path.cwd()


# ---------------------------------------------------------------- nights of planted devices


@dataclass
class Device:
    """One planted device and its nights; what is done with its alerts is asked here."""

    store: Store
    name: str
    problems: tuple[ProblemKey, ...] = TWO
    noise: float = 0.002

    def __post_init__(self) -> None:
        record = DeviceRecord(uuid=f"GPU-{self.name}", kind="cuda", model=f"Tesla {self.name}")
        self.nights = Nights(self.store, noise=self.noise, device=record)

    def quiet(self, count: int = 8, **planted: object) -> None:
        self.nights.quiet(count, problems=self.problems, **planted)

    def night(self, factors: dict | None = None, judged: bool = True, **planted: object) -> int:
        run_id = self.nights.night(factors, **{"problems": self.problems, **planted})
        if judged:
            self.judge(run_id)
        return run_id

    def judge(self, run_id: int) -> None:
        judge(self.store, run_id, CONFIG, now=START + timedelta(days=self.nights.count))

    @property
    def device_id(self) -> int:
        return queries.find_device(self.store, f"GPU-{self.name}").id

    @property
    def newest_alert(self):
        """The alert that was opened last, of whatever state."""
        return max(queries.alerts(self.store, None, self.device_id), key=lambda one: one.id)

    def act(self, action: str, reason: str | None = None, **others: object) -> None:
        seen = self.newest_alert
        act(self.store, seen.id, action, WHO, reason, seen.version, **others)


def lives_of_alerts(store: Store) -> None:
    """A device for each state of an alert of cause code, confirmed on one night."""

    def slower(name: str, **planted: object) -> Device:
        device = Device(store, name)
        device.quiet(**planted)
        device.night(SLOWER, **planted)
        return device

    slower("open", energy=True)
    slower("acknowledged").act("acknowledge", "looking at it")
    slower("assigned").act("assign", "his change", assigned_to="ben")
    slower("muted").act("mute", "waits for the driver", muted_until=MUTED_UNTIL)
    slower("accepted").act("accept", "the price of the fix in <b>1234abcd</b>")
    slower("false-alarm").act("false_alarm", "the cooler was blocked")
    slower("resolved-by-hand").act("resolve", "reverted")
    reopened = slower("reopened")
    reopened.act("resolve")
    reopened.act("reopen", "it is back")
    unmuted = slower("unmuted")
    unmuted.act("mute", "until tomorrow", muted_until=MUTED_UNTIL)
    unmuted.act("unmute")
    ended = slower("mute-ended")
    ended.act("mute", "for a moment", muted_until=datetime.now(UTC) + timedelta(seconds=1))
    time.sleep(1.2)
    alert_life.end_mutes(store, datetime.now(UTC))
    recovering = slower("recovering")
    recovering.night()
    resolved = slower("resolved")
    for _ in range(3):
        resolved.night()
    seen_again = slower("seen-again")
    seen_again.night(SLOWER)


def causes(store: Store) -> None:
    """A device for each cause that is no slower code, and for provisional alerts."""
    faster = Device(store, "faster")
    faster.quiet()
    faster.night({"fused": 0.8})
    baseline = Device(store, "baseline")
    baseline.quiet()
    baseline.night({"bmm": 0.8})
    slower_baseline = Device(store, "slower-baseline")
    slower_baseline.quiet()
    slower_baseline.night({"bmm": 1.2})
    environment = Device(store, "environment")
    environment.quiet()
    environment.night({"fused": 1.2, "bmm": 1.2}, driver="560.2")
    canary = Device(store, "canary")
    canary.quiet()
    canary.night(dict.fromkeys(("fused", "bmm", "dense"), 1.15), canary=1.15)
    throttled = Device(store, "throttled")
    throttled.quiet()
    throttled.night({"fused": 1.5}, flags={("fused", one): ("thermal_slowdown",) for one in TWO})
    incorrect = Device(store, "incorrect")
    incorrect.quiet(4)
    incorrect.night(statuses={("fused", TWO[0]): "incorrect"})
    drift = Device(store, "drift", PROBLEMS)
    for night in range(48):
        drift.night({"fused": 1 + 0.0015 * max(0, night - 15)}, judged=night > 44, implementations=FEW)
    _provisional(store, "provisional")
    dismissed = _provisional(store, "dismissed")
    dismissed.night(implementations=FEW)
    by_next_night = _provisional(store, "confirmed-by-the-next-night")
    by_next_night.night(SMALL, implementations=FEW)
    _statuses(store)


def _provisional(store: Store, name: str) -> Device:
    device = Device(store, name, PROBLEMS, noise=0.01)
    device.quiet(15, implementations=FEW)
    device.nights.noise = 0.0
    device.night(SMALL, implementations=FEW)
    return device


def _statuses(store: Store) -> None:
    """Every status, an excluded run, notes, states of runs."""
    device = Device(store, "statuses", PROBLEMS)
    words = ("unsupported", "out_of_memory", "too_slow", "implausible", "crashed", "not_converged", "skipped")
    statuses = {("bmm" if i % 2 else "dense", PROBLEMS[i % 6]): word for i, word in enumerate(words)}
    device.quiet(4)
    bad = device.night(statuses=statuses)
    run_events.say(store, bad, "note", WHO, "first night with the new driver <script>1</script>")
    run_events.say(store, bad, "exclude", WHO, "the fan was broken")
    other = device.night()
    run_events.say(store, other, "exclude", WHO, "by mistake")
    run_events.say(store, other, "include", WHO, "the fan was fine")
    run_log.log(
        store,
        other,
        [("info", "6 problems"), ("warning", "the device is busy"), ("error", "one cell crashed")],
    )
    device.night(state="failed", judged=False)
    code_of_counters = MeasurementRecord(
        PROBLEMS[0],
        "fused",
        "ok",
        mode="hot",
        latency_ms=0.9,
        latency_low_ms=0.89,
        latency_high_ms=0.91,
        code_hash="c" * 64,
        tile="64x64x32",
        counters=(
            CounterReading("dram__bytes.sum", 1.5e9, "byte"),
            CounterReading("sm__cycles_active.avg", None, None, "no counters: no permission"),
        ),
        samples_ms=(0.89, 0.9, 0.91),
    )
    store.record_problem(other, [code_of_counters])


def heuristics(store: Store) -> None:
    """A rule that always says fused, and was wrong twice on two nights."""
    problems = tuple(ProblemKey(a, 48, 48, 1, 1024, "fp32", "batch_last") for a in range(1, 21))
    device = Device(store, "heuristic", problems)
    for losses in (2, 3, 2, 3, 2, 12, 12):
        slow = {("fused", one): 2.0 for one in problems[:losses]}
        run_id = device.night(slow, judged=False, implementations=FEW)
        store.record_predictions(run_id, [PredictionRecord(one, "always", 1, True, 1.1) for one in problems])
        device.judge(run_id)


def silences(store: Store) -> None:
    """A silent device, a pattern that is gone, a lost worker; persons accept most of them."""
    pattern = Device(store, "pattern-gone", PROBLEMS)
    pattern.quiet(5)
    for _ in range(2):
        pattern.night(problems=PROBLEMS[4:])
    look_for_silence(store, CONFIG, START + timedelta(days=pattern.nights.count, hours=20))
    lost = Device(store, "lost-worker")
    lost.quiet(1)
    run_id = lost.night(state="interrupted", judged=False)
    lost_workers.say_lost(store, run_id, "interrupted: the worker of host-b was gone for 600 s")
    back = Device(store, "worker-back")
    back.quiet(1)
    run_id = back.night(state="interrupted", judged=False)
    lost_workers.say_lost(store, run_id, "interrupted: the worker of host-b was gone for 600 s")
    look_for_silence(store, CONFIG, START)
    lost_workers.say_back(store, run_id)
    look_for_silence(store, CONFIG, datetime.now(UTC))
    kept = ("GPU-open", "GPU-pattern-gone", "GPU-lost-worker", "GPU-worker-back")
    known = {one.id: one for one in queries.devices(store)}
    for alert in queries.alerts(store):
        if alert.cause == alert_life.SILENCE and known[alert.device_id].uuid not in kept:
            act(store, alert.id, "accept", WHO, "it was sold", alert.version)


# ---------------------------------------------------------------- measured again


@contextmanager
def as_of(store: Store, started: datetime, revision: RevisionRecord | None = None) -> Iterator[None]:
    """Runs begin then, at that revision, and take a minute."""
    begin, finish = store.begin_run, store.finish_run

    def begin_then(record, identity=None):
        others = {"revision": revision} if revision else {}
        return begin(replace(record, started_at=started, **others), identity)

    def finish_then(run_id, state="finished", seconds=None, harness_seconds=None, finished_at=None):
        finish(run_id, state, seconds, harness_seconds, started + timedelta(seconds=seconds or 60))

    store.begin_run, store.finish_run = begin_then, finish_then
    try:
        yield
    finally:
        del store.begin_run, store.finish_run


def sim_nights(store: Store, board: str, slower: str, same_revision: bool) -> int:
    """Thirteen nights of a simulated board, the last one slower and judged; gives its open request."""
    for night in range(13):
        last = night == 12
        revision = RevisionRecord(f"{1 if same_revision else night + 1:040x}", subject=f"commit {night}")
        options = f"seed={night}" + (f"&{slower}" if last else "")
        with as_of(store, datetime(2026, 3, 1 + night, 2, tzinfo=UTC), revision):
            found = run_suite(store, "ad_hoc", f"{board}?{options}", filters=SIM_CELLS, kind="nightly")
    judge(store, found.run, CONFIG, now=datetime(2026, 3, 14, tzinfo=UTC))
    asked = ask_again(store, queries.run(store, found.run), CONFIG)
    assert asked is not None, f"{board}: nothing is provisional: {queries.alerts(store)[-1:]}"
    return asked


def measured_alone_and_not_answered(store: Store, asked: int, spec: str) -> int:
    """The run of a taken request whose server was killed before it judged the run."""
    taken = requests.take(store, asked)
    assert taken is not None
    with as_of(store, datetime(2026, 3, 13, 3, tzinfo=UTC)):
        return measure_request(store, replace(taken, device=spec), Surroundings()).run


def measured_in_turns_and_not_answered(store: Store) -> int:
    """Four pairs of processes of a planted device whose judgement is still to come; gives the last head."""
    device = _provisional(store, "measured-in-turns")
    night = queries.runs(store, device.device_id, limit=1)[0]
    asked = ask_again(store, night, CONFIG)
    assert asked is not None and requests.take(store, asked)
    device.nights.noise = 0.001
    for _ in range(4):
        pair = [
            _answering(store, device, asked, {"fused": 1.03 * factor}, {"side": side, "against": "f" * 40})
            for side, factor in (("base", 1.0), ("head", 1.025))
        ]
        before, after = (
            [one for one in newest_points(store, run) if one.implementation == "fused"] for run in pair
        )
        readings = [
            PairedReading(base.problem, "fused", None, None, (head.latency_ms[0] / base.latency_ms[0],) * 8)
            for base, head in zip(before, after, strict=True)
        ]
        paired_ratios.record(store, pair[1], pair[0], readings)
    return pair[1]


def answered(store: Store) -> int:
    """A confirmation that is done: measured alone, dismissed; gives its request."""
    device = _provisional(store, "answered")
    asked = ask_again(store, queries.runs(store, device.device_id, limit=1)[0], CONFIG)
    assert asked is not None and requests.take(store, asked)
    request_events.say_alone(store, asked, "the base revision 00000000000f does not build")
    run_id = _answering(store, device, asked, {}, {})
    device.judge(run_id)
    requests.finish(store, asked, "done", f"run {run_id}")
    return asked


def _answering(store: Store, device: Device, asked: int, factors: dict, arguments: dict) -> int:
    begin = store.begin_run
    store.begin_run = lambda record, identity=None: begin(
        replace(record, request_id=asked, arguments=arguments)
    )
    try:
        return device.night(factors, judged=False, kind="confirm", implementations=FEW)
    finally:
        del store.begin_run


def gate(folder: Path, kswatch) -> None:
    """A real gate of this host's CPU, whose head computes twice."""
    clone = scratch_clone.make(folder / "clone")
    line = "            products = multiply(gather(problem, x))\n"
    base = scratch_clone.git(clone, "rev-parse", "HEAD")
    scratch_clone.change(clone, "kernels/baselines/bmm.py", line, 2 * line, "multiply twice")
    cell = ("--pattern", "2,64,64,4", "--batch", "256", "--precision", "fp32", "--layout", "batch_first")
    kswatch(
        "gate",
        "--repository",
        clone.name,
        "--base",
        base,
        "--device",
        "cpu",
        *cell,
        "--implementation",
        "bmm",
        "--budget",
        "15s",
    )


# ---------------------------------------------------------------- what goes on now


def queue(store: Store, kswatch) -> dict[str, int]:
    """Requests of each state; gives their numbers by what they are."""
    cell = ("--pattern", "6,64,64,1", "--batch", "256", "--precision", "fp32", "--layout", "batch_first")

    def ask(*arguments: str) -> int:
        return json.loads(kswatch("request", *arguments, "--json"))["request"]

    numbers = {"done": ask(*cell, "--device", "sim:v100", "--why", "to see it end")}
    run_requests(store, [numbers["done"]], lambda run_id: None, Surroundings())
    numbers["failed"] = ask("smoke", "--device", "cuda:7", "--who", WHO)
    requests.take(store, numbers["failed"])
    requests.finish(store, numbers["failed"], "failed", "there is no device 'cuda:7' here")
    numbers["cancelled"] = ask("smoke", "--device", "cpu", "--who", WHO, "--why", "new compiler")
    kswatch("cancel", str(numbers["cancelled"]), "--why", "wrong device", "--who", WHO)
    numbers["running"] = ask(*cell, "--device", "GPU-running", "--who", WHO)
    requests.take(store, numbers["running"])
    begin = store.begin_run
    store.begin_run = lambda record, identity=None: begin(replace(record, request_id=numbers["running"]))
    running = Device(store, "running").night(state="running", judged=False, kind="ad_hoc")
    del store.begin_run
    requests.progress(store, numbers["running"], 6, 12, 540.0, "measuring 4,48,48,1 fp32 batch_last")
    numbers["queued"] = ask(
        *cell,
        "--device",
        "sim:h200",
        "--why",
        "was that noise?",
        "--implementation",
        "fused",
        "--implementation",
        "bmm",
    )
    held = leases.acquire(
        store, "GPU-running", "process 7 of host-b since 2026-01-02 02:00:00 UTC (kswatch serve)", 1
    )
    leases.heartbeat(store, held, 1)
    workers.say_alive(
        store,
        workers.Sign(
            "process 5 of host-a since 2026-01-02 01:59:00 UTC (kswatch serve)",
            "coordinator",
            "dask",
            "host-a",
        ),
        workers.Sign("tcp://host-b:1", "worker", "dask", "host-b", "GPU-running", running),
        workers.Sign("tcp://host-b:2", "worker", "dask", "host-b", "GPU-open"),
    )
    workers.say_goodbye(store, "tcp://host-b:2")
    schedule_marks.mark_due(
        store, "nightly", datetime.now(UTC).replace(hour=2, minute=0, second=0, microsecond=0)
    )
    return numbers


def messages(store: Store) -> None:
    """News that is sent, that waits for its next try, that a sender holds; later news has no address yet."""
    now = datetime.now(UTC)
    outbox.address(store, ["json", "mailto 2"], lambda row: f"body of {row.title}")
    for _ in range(2):
        taken = outbox.claim(store, ["json"], now)
        outbox.mark_sent(store, taken.id, now)
    taken = outbox.claim(store, ["mailto 2"], now)
    outbox.mark_failed(store, taken, "the server does not answer", now)
    outbox.claim(store, ["mailto 2"], now)


def machine_code(store: Store) -> None:
    """What a GPU's compiler and a search on a GPU would have written."""
    figures = {
        "family": "hopper",
        "compiler": "nvcc 13.0",
        "registers": 168,
        "spill_bytes": 0,
        "shared_bytes": 98304,
    }
    row = ResourceRow(
        code_hash="c" * 64,
        kernel="fused_fp32",
        architecture="sm_90",
        instructions={"HGMMA": 32, "LDG": 4},
        **figures,
    )
    code.record_resources(store, [row, row._replace(kernel="fused_bf16", registers=None, spill_bytes=16)])
    found = tuned_tiles.TunedTileRecord(PROBLEMS[0], "64x64x32", 0.9, 0.89, 0.91, 0.85, 12, 3, START)
    device = DeviceRecord(uuid="GPU-open", kind="cuda", model="Tesla open")
    tuned_tiles.record(store, device, "d" * 64, found)
    tuned_tiles.record(
        store,
        device,
        "d" * 64,
        replace(found, problem=PROBLEMS[1], latency_low_ms=None, latency_high_ms=None),
    )


PUBLISHED_ENERGY = """\
pattern,batch-size,algo,bs_position,precision,device_name,median,nruns,ecs
"[[1, 48, 48, 2]]",25088,kernel,bs_last,fp32,Tesla_V100-PCIE-16GB,6012.5,512.0,
"[[1, 48, 48, 2]]",25088,bmm,bs_last,fp32,Tesla_V100-PCIE-16GB,7012.5,512.0,
"[[1, 48, 48, 2]]",25088,monarch,bs_last,fp32,Tesla_V100-PCIE-16GB,5701.0,256.0,
"""
PUBLISHED_TIME = """\
patterns,batch-size,algo,mean,median,iqr,times,bs_position,precision,device_name
"[[2, 48, 192, 1]]",1024,kernel,0.0021,0.002,0.001,"[0.001, 0.002, 0.003]",bs_first,fp16,My_GPU
"[[2, 48, 192, 1]]",1024,einsum,0.0031,0.003,0.001,"[0.002, 0.003, 0.004]",bs_first,fp16,My_GPU
"[[1, 768, 768, 64]]",25088,kernel,4e-6,4e-6,0,[4e-6],bs_last,fp16,My_GPU
"""


def imported(folder: Path, kswatch) -> None:
    """The two published forms, with a row that is not taken and one that is implausible."""
    for name, text in (("energy.csv", PUBLISHED_ENERGY), ("time.csv", PUBLISHED_TIME)):
        (folder / name).write_text(text)
        kswatch("import", name, "--json")


# ---------------------------------------------------------------- the commands' outputs


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

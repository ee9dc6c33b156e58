"""Confirmations, requests, messages and compiled code; part of generate.py, for commit 2807ff2 alone."""
# ruff: noqa: I001

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ci.check import judge
from ci.confirming import ask_again
from db import code, leases, outbox, paired_ratios, queries, requests
from db import request_events, schedule_marks, tuned_tiles, workers
from db.paired import PairedReading
from db.queries_code import ResourceRow
from db.records import (
    DeviceRecord,
    RevisionRecord,
)
from db.store import Store
from db.verdicts import newest_points
from profiler.request_run import measure_request, run_requests
from profiler.session import Surroundings, run_suite
from tests.ci.nights import PROBLEMS, START
from tests.profiler import scratch_clone
from planted_nights import CONFIG, Device, FEW, SIM_CELLS, WHO, _provisional


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

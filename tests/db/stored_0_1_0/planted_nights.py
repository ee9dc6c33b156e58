"""Nights of planted devices, with alerts in every state; part of generate.py, for commit 2807ff2 alone."""
# ruff: noqa: I001

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ci.check import judge
from ci.config import CiConfig
from ci.silence import look_for_silence
from db import alert_life, lost_workers, queries
from db import run_events, run_log
from db.alert_life import act
from db.records import (
    CounterReading,
    DeviceRecord,
    MeasurementRecord,
    PredictionRecord,
    ProblemKey,
)
from db.store import Store
from tests.ci.nights import PROBLEMS, START, Nights


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

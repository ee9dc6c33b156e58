"""Repeatability of a device's measurements, and a nightly run of the device for the record.

    python -m tests.benchmarks.measurement_trust                   # on the first GPU, half an hour
    python -m tests.benchmarks.measurement_trust --within 9m       # the same command continues
    python -m tests.benchmarks.measurement_trust --device sim:h200 --out simulated --nightly 2m

First ten runs of five problems, each in its own processes as nightly runs are: the differences of the medians
of `fused` and `bmm` between runs, the tick of the energy counter, the difference of counter and power sensor.
Then a `nightly` run in the remaining time, exported. The folder of --out holds store/, measuring.json, which
is updated after each run and lets the same command continue, and nightly.jsonl.gz for `kswatch import`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from tests.benchmarks.first_light import seconds_of

ROOT = Path(__file__).parents[2]
REPEATS = 10
PROBLEMS = (
    "6,64,64,1,25088,fp16,batch_last",
    "6,64,64,1,25088,fp32,batch_first",
    "1,768,192,2,25088,fp16,batch_first",
    "4,48,192,8,25088,bf16,batch_last",
    "2,128,128,1,1024,fp16,batch_last",
)
"""Long products and one that is timed as a graph; both layouts, three precisions."""
IMPLEMENTATIONS = ("fused", "bmm")
GOAL_PERCENT = 0.5
MIN_NIGHT_S = 120.0
RESERVE_S = 45.0
"""Time for the start, the current problem at the end, and the export."""
REPEAT_MARGIN = 1.2
"""Time left that a repeat needs, in units of the longest repeat so far."""


@dataclass
class Done:
    """Progress of the calls so far, as stored in measuring.json."""

    device: str
    repeats: list[int] = field(default_factory=list)
    """Numbers of the repeated runs."""
    repeat_s: float = 0.0
    """Seconds of the longest repeat."""
    nightly: int | None = None
    exported: bool = False
    figures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Figure:
    """One measured property of the measurements."""

    name: str
    value: float
    unit: str
    goal: str = ""


class TrustRun:
    """Continues from the state in its folder until the time is over."""

    def __init__(
        self, device: str, out: Path, into: Path | None, within_s: float, nightly_s: float | None
    ) -> None:
        self._out, self._into = out, into
        self._until_s = time.monotonic() + within_s
        self._nightly_s = nightly_s
        self._store = out / "store" / "kswatch.db"
        self._store.parent.mkdir(parents=True, exist_ok=True)
        self.done = self._before(device)

    def proceed(self) -> bool:
        """Run the remaining parts; returns whether everything is done."""
        while len(self.done.repeats) < REPEATS and self._holds(REPEAT_MARGIN * self.done.repeat_s):
            started_s = time.monotonic()
            self.done.repeats.append(self._repeat())
            repeat_s = time.monotonic() - started_s
            self.done.repeat_s = max(self.done.repeat_s, repeat_s)
            self._write()
            print(f"repeat {len(self.done.repeats)} of {REPEATS}: {repeat_s:.0f} s", flush=True)
        if len(self.done.repeats) < REPEATS:
            return False
        if self.done.nightly is None and self._holds(MIN_NIGHT_S):
            self.done.nightly = self._night()
            self._write()
        if self.done.nightly is not None and not self.done.exported:
            run = str(self.done.nightly)
            self._kswatch("export", "--run", run, "--format", "jsonl", str(self._out / "nightly.jsonl.gz"))
            self.done.exported = True
            self._write()
            self._copy()
        return self.done.exported

    def _copy(self) -> None:
        if self._into:
            name = self.done.device.replace(":", "_")
            shutil.copy(self._out / "nightly.jsonl.gz", self._into / f"nightly_{name}.jsonl.gz")
            shutil.copy(self._out / "measuring.json", self._into / f"measuring_{name}.json")

    def _repeat(self) -> int:
        command = ["profile", "--device", self.done.device, "--json"]
        command += [f"--problem={problem}" for problem in PROBLEMS]
        command += [f"--implementation={name}" for name in IMPLEMENTATIONS]
        return int(json.loads(self._kswatch(*command))["run"])

    def _night(self) -> int:
        """Measure the nightly run, or continue an interrupted one; returns its number."""
        budget_s = min(self._nightly_s or math.inf, self._left_s() - RESERVE_S)
        arguments = ["nightly", "--device", self.done.device]
        with closing(Store.open(f"sqlite:///{self._store}")) as store:
            for run in queries.runs(store, limit=None):
                if run.suite == "nightly" and run.state in ("running", "interrupted"):
                    arguments = ["--resume", str(run.id)]
        report = self._kswatch("profile", *arguments, "--budget", f"{budget_s:.0f}s", "--json")
        return int(json.loads(report)["run"])

    def _holds(self, seconds: float) -> bool:
        return self._left_s() > seconds + RESERVE_S

    def _kswatch(self, *arguments: str) -> str:
        variables = {"KSWATCH_DATABASE_URL": f"sqlite:///{self._store}"}
        done = subprocess.run(
            [sys.executable, "-m", "kswatch", *arguments],
            cwd=ROOT,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            text=True,
            timeout=max(30.0, self._left_s() + RESERVE_S),
        )
        if done.returncode not in (0, 1):  # 1: a result was incorrect, which the run records
            raise SystemExit(f"kswatch {' '.join(arguments)} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def _left_s(self) -> float:
        return self._until_s - time.monotonic()

    def _before(self, device: str) -> Done:
        path = self._out / "measuring.json"
        known = Done(**json.loads(path.read_text())) if path.exists() else Done(device)
        if known.device != device:
            raise SystemExit(f"{self._out} is of device {known.device}; choose another folder by --out")
        return known

    def _write(self) -> None:
        self.done.figures = [asdict(figure) for figure in self.figures()]
        path = self._out / "measuring.json"
        path.with_suffix(".writing").write_text(json.dumps(asdict(self.done), indent=1))
        path.with_suffix(".writing").replace(path)

    def figures(self) -> Iterator[Figure]:
        """Figures of the repeats so far."""
        if not self.done.repeats:
            return
        with closing(Store.open(f"sqlite:///{self._store}")) as store:
            runs = [queries.measurements(store, run) for run in self.done.repeats]
        rows = [row for run in runs for row in run]
        for name in IMPLEMENTATIONS:
            yield from spread([row for row in rows if row.implementation == name], name, "latency_ms")
            yield from spread([row for row in rows if row.implementation == name], name, "energy_mj")
        yield from energy(rows)


def spread(rows: Sequence[Any], name: str, metric: str) -> Iterator[Figure]:
    """Deviations of the runs of each cell from their median: the median deviation, and the largest range."""
    cells: dict[int, list[float]] = {}
    for row in rows:
        if getattr(row, metric) is not None:
            cells.setdefault(row.problem_id, []).append(getattr(row, metric))
    repeated = [values for values in cells.values() if len(values) > 1]
    if not repeated:
        return
    deviations = [deviation_percent(values) for values in repeated]
    ranges = [100 * (max(values) - min(values)) / statistics.median(values) for values in repeated]
    cells_text = f"{name}, {metric.split('_')[0]}: {len(repeated)} cells, {max(map(len, repeated))} runs"
    goal = f"<= {GOAL_PERCENT}" if metric == "latency_ms" else ""
    yield Figure(
        f"{cells_text}: median deviation from the cell's median", statistics.median(deviations), "%", goal
    )
    yield Figure(f"{cells_text}: largest range", max(ranges), "%")


def deviation_percent(values: Sequence[float]) -> float:
    """The median absolute deviation from the median, in percent of the median."""
    middle = statistics.median(values)
    return 100 * statistics.median(abs(value / middle - 1) for value in values)


def energy(rows: Sequence[Any]) -> Iterator[Figure]:
    """The counter's tick, and the difference of the power sensor from the counter."""
    ticks = [row.energy_tick_ms for row in rows if row.energy_tick_ms is not None]
    if ticks:
        yield Figure("energy counter's tick, median", statistics.median(ticks), "ms")
        yield Figure("energy counter's tick, longest", max(ticks), "ms")
    differences = [
        100 * (row.second_power_w / row.power_w - 1)
        for row in rows
        if row.second_power_w is not None and row.power_w
    ]
    if differences:
        yield Figure("power sensor over counter, median", statistics.median(differences), "%")
        yield Figure(
            "power sensor against counter, largest difference", max(map(abs, differences)), "%", "<= 5"
        )


def main() -> int:
    """Run and print the figures; returns 0 when all is done, 1 when the same command would continue."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda by default, or sim:h200 for a rehearsal")
    parser.add_argument("--out", type=Path, default=ROOT / "measuring", help="folder; ./measuring by default")
    parser.add_argument("--into", type=Path, help="folder for copies of the nightly run and the figures")
    parser.add_argument(
        "--within", type=seconds_of, default="30m", help="time limit of the call, as 9m; 30m by default"
    )
    parser.add_argument(
        "--nightly", type=seconds_of, help="time limit of the nightly run; by default the rest of --within"
    )
    options = parser.parse_args()
    run = TrustRun(options.device, options.out.resolve(), options.into, options.within, options.nightly)
    complete = run.proceed()
    if options.device.startswith("sim:"):
        print("SIMULATED: these figures are of a simulated device")
    for figure in run.figures():
        goal = f"   {figure.goal} {figure.unit}" if figure.goal else ""
        print(f"{figure.name:<78}{figure.value:9.3f} {figure.unit}{goal}")
    if not complete:
        print("not all is done; the same command continues")
    return int(not complete)


if __name__ == "__main__":
    sys.exit(main())

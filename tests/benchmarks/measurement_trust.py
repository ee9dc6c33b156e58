"""How far a device's numbers can be trusted, and a night of it for the record.

    python tests/benchmarks/measurement_trust.py                                 # on the first GPU, half an hour
    python tests/benchmarks/measurement_trust.py --within 9m                     # as far as that goes; the same command goes on
    python tests/benchmarks/measurement_trust.py --device sim:h200 --out simulated --nightly 2m

First ten runs of five problems, each in processes of its own as nights are: how far medians of `fused` and
of `bmm` differ from run to run, the tick of the energy counter, how far counter and power sensor are apart.
Then a `nightly` run with what is left of the time, exported. In the folder of --out: store/, measuring.json,
which is written as it goes and says where to go on, and nightly.jsonl.gz, which `kswatch import` takes.
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

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from kswatch.db.queries import basic as queries  # noqa: E402  (found beside this folder)
from kswatch.db.store import Store  # noqa: E402

REPEATS = 10
PROBLEMS = (
    "6,64,64,1,25088,fp16,batch_last",
    "6,64,64,1,25088,fp32,batch_first",
    "1,768,192,2,25088,fp16,batch_first",
    "4,48,192,8,25088,bf16,batch_last",
    "2,128,128,1,1024,fp16,batch_last",
)
"""Long ones and one that is timed as a graph; both layouts, three precisions."""
IMPLEMENTATIONS = ("fused", "bmm")
GOAL_PERCENT = 0.5
LEAST_NIGHT_S = 120.0
RESERVE_S = 45.0
"""For starting, for the end of a problem under way, for the export."""
RUN_AGAIN_S = 1.2
"""A repeat is begun where so many times the last one's seconds are left."""
UNITS_S = {"s": 1, "m": 60, "h": 3600}


@dataclass
class Done:
    """What an earlier call got to, as measuring.json keeps it."""

    device: str
    repeats: list[int] = field(default_factory=list)
    """Runs by their numbers."""
    repeat_s: float = 0.0
    """What the longest of them took."""
    nightly: int | None = None
    exported: bool = False
    figures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Figure:
    """One thing that was measured of the measuring."""

    what: str
    value: float
    unit: str
    goal: str = ""


class Visit:
    """Goes on where the folder says, until the time is over."""

    def __init__(
        self, device: str, out: Path, into: Path | None, within_s: float, nightly_s: float | None
    ) -> None:
        self._out, self._into = out, into
        self._until_s = time.monotonic() + within_s
        self._nightly_s = nightly_s
        self._store = out / "store" / "kswatch.db"
        self._store.parent.mkdir(parents=True, exist_ok=True)
        self.done = self._before(device)

    def go(self) -> bool:
        """Whether everything is done."""
        while len(self.done.repeats) < REPEATS and self._holds(RUN_AGAIN_S * self.done.repeat_s):
            began_s = time.monotonic()
            self.done.repeats.append(self._repeat())
            took_s = time.monotonic() - began_s
            self.done.repeat_s = max(self.done.repeat_s, took_s)
            self._write()
            print(f"repeat {len(self.done.repeats)} of {REPEATS}: {took_s:.0f} s", flush=True)
        if len(self.done.repeats) < REPEATS:
            return False
        if self.done.nightly is None and self._holds(LEAST_NIGHT_S):
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
        """The nightly run, or the rest of one that was cut off."""
        budget_s = min(self._nightly_s or math.inf, self._left_s() - RESERVE_S)
        what = ["nightly", "--device", self.done.device]
        with closing(Store.open(f"sqlite:///{self._store}")) as store:
            for run in queries.runs(store, limit=None):
                if run.suite == "nightly" and run.state in ("running", "interrupted"):
                    what = ["--resume", str(run.id)]
        told = self._kswatch("profile", *what, "--budget", f"{budget_s:.0f}s", "--json")
        return int(json.loads(told)["run"])

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
        if done.returncode not in (0, 1):  # 1: a result was incorrect, which the run tells
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
        """What the repeats tell so far."""
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
    """How far the runs of each cell lie from their median: the usual deviation, and the largest range."""
    cells: dict[int, list[float]] = {}
    for row in rows:
        if getattr(row, metric) is not None:
            cells.setdefault(row.problem_id, []).append(getattr(row, metric))
    repeated = [values for values in cells.values() if len(values) > 1]
    if not repeated:
        return
    usual = [deviation_percent(values) for values in repeated]
    ranges = [100 * (max(values) - min(values)) / statistics.median(values) for values in repeated]
    told = f"{name}, {metric.split('_')[0]}: {len(repeated)} cells, {max(map(len, repeated))} runs"
    goal = f"<= {GOAL_PERCENT}" if metric == "latency_ms" else ""
    yield Figure(f"{told}: median deviation from the cell's median", statistics.median(usual), "%", goal)
    yield Figure(f"{told}: largest range", max(ranges), "%")


def deviation_percent(values: Sequence[float]) -> float:
    """The median of how far values lie from their median."""
    middle = statistics.median(values)
    return 100 * statistics.median(abs(value / middle - 1) for value in values)


def energy(rows: Sequence[Any]) -> Iterator[Figure]:
    """The counter's tick, and how far the power sensor is from the counter."""
    ticks = [row.energy_tick_ms for row in rows if row.energy_tick_ms is not None]
    if ticks:
        yield Figure("energy counter's tick, median", statistics.median(ticks), "ms")
        yield Figure("energy counter's tick, longest", max(ticks), "ms")
    apart = [
        100 * (row.second_power_w / row.power_w - 1)
        for row in rows
        if row.second_power_w is not None and row.power_w
    ]
    if apart:
        yield Figure("power sensor over counter, median", statistics.median(apart), "%")
        yield Figure("power sensor and counter apart, most", max(map(abs, apart)), "%", "<= 5")


def seconds_of(text: str) -> float:
    """`90s`, `9m` or `1h`."""
    if text[-1:] not in UNITS_S or not text[:-1].replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as 90s, 9m or 1h")
    return float(text[:-1]) * UNITS_S[text[-1]]


def main() -> int:
    """See the module; 0 when all is done, 1 when the same command would go on."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda by default, or sim:h200 for a rehearsal")
    parser.add_argument("--out", type=Path, default=ROOT / "measuring", help="folder; ./measuring by default")
    parser.add_argument("--into", type=Path, help="folder that gets the night and the figures at the end")
    parser.add_argument("--within", type=seconds_of, default="30m", help="all of it, as 9m; 30m by default")
    parser.add_argument("--nightly", type=seconds_of, help="longest nightly; what is left of --within else")
    options = parser.parse_args()
    visit = Visit(options.device, options.out.resolve(), options.into, options.within, options.nightly)
    whole = visit.go()
    if options.device.startswith("sim:"):
        print("SIMULATED: these figures are of a simulated device")
    for figure in visit.figures():
        goal = f"   {figure.goal} {figure.unit}" if figure.goal else ""
        print(f"{figure.what:<78}{figure.value:9.3f} {figure.unit}{goal}")
    if not whole:
        print("not all is done; the same command goes on")
    return int(not whole)


if __name__ == "__main__":
    sys.exit(main())

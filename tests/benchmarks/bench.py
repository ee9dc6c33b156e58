"""The figures that README and CHANGELOG quote, measured on this machine: `make bench`.

    python tests/benchmarks/bench.py               # all of them, about ten minutes
    python tests/benchmarks/bench.py help import   # only these

Each line is a figure, its goal where there is one, and what was measured. Published data is read from
the folder in KSWATCH_REFERENCE; without it, those figures say so.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[0] = str(ROOT)  # not this folder, whose folders are named like ours
KSWATCH = Path(sys.executable).with_name("kswatch")


@dataclass(frozen=True)
class Figure:
    """One measured number beside its goal."""

    name: str
    value: float
    unit: str
    goal: str = ""

    def __str__(self) -> str:
        return f"{self.name:<58}{self.value:>9.3g} {self.unit:<8}{self.goal}"


def reference() -> Path | None:
    folder = os.environ.get("KSWATCH_REFERENCE")
    return Path(folder) if folder else None


def run(folder: Path, *arguments: str) -> tuple[str, float]:
    """Stdout of a kswatch command with its store in the folder, and its seconds of wall time."""
    environment = os.environ | {"KSWATCH_DATABASE_URL": f"sqlite:///{folder / 'kswatch.db'}"}
    started = time.perf_counter()
    done = subprocess.run(
        [KSWATCH, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout, time.perf_counter() - started


def help_time(folder: Path) -> Iterator[Figure]:
    seconds = [run(folder, "--help")[1] for _ in range(7)]
    yield Figure("kswatch --help, median of 7", statistics.median(seconds), "s", "< 0.5")


def import_time(folder: Path) -> Iterator[Figure]:
    published = reference()
    if published is None:
        print("import: skipped, KSWATCH_REFERENCE names no folder of published data")
        return
    out, seconds = run(folder, "import", str(published / "ksmm_energy_v100.csv"), "--json")
    yield Figure(f"import of {json.loads(out)['read']} published rows", seconds, "s", "< 5")


def smoke_run(folder: Path) -> Iterator[Figure]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    out, _ = run(folder, "profile", "smoke", "--device", "cpu", "--json")
    report = json.loads(out)
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    yield Figure(f"smoke run, {report['cells']} cells", report["seconds"], "s", "< 120")
    if peak_kib > before:
        yield Figure("largest process of the smoke run", peak_kib / 2**20, "GiB", "< 1.5")


def twin_ratios(folder: Path) -> Iterator[Figure]:
    """The CPU twin against the best torch baseline, paired in the same rounds."""
    batches = ("--batch", "1024", "--batch", "4096")
    run(folder, "profile", "smoke", "--device", "cpu", *batches, "--precision", "fp32", "--json")
    for name, goal, belongs in (
        ("d = 1", ">= 1.0", lambda row: row.d == 1),
        ("batch_last, d > 1", ">= 1.0", lambda row: row.d > 1 and row.layout == "batch_last"),
        ("batch_first, d > 1", ">= 1.3", lambda row: row.d > 1 and row.layout == "batch_first"),
    ):
        speedups = [row.speedup for row in newest_comparisons(folder) if belongs(row) and row.speedup]
        median = statistics.median(speedups)
        yield Figure(f"twin over the best baseline, {name}, {len(speedups)} problems", median, "×", goal)


def newest_comparisons(folder: Path) -> list:
    from kswatch.db.queries import basic as queries
    from kswatch.db.store import Store

    store = Store.open(f"sqlite:///{folder / 'kswatch.db'}")
    newest = queries.runs(store, kinds=("ad_hoc",), limit=1)[0]
    return queries.comparisons(store, newest.id, metric="latency", baselines="all")


LAUNCH_GOALS = {"raw launch on a null driver": "<= 10", "less torch.bmm": "<= 15"}


def launch_path(folder: Path) -> Iterator[Figure]:
    """Host time of a launch and of KSLinear where the driver does nothing, beside a tiny `torch.bmm`."""
    script = ROOT / "tests" / "kernels" / "launch_times.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=ROOT, check=True)
    for line in done.stdout.splitlines():
        name, value, unit = line.rsplit(maxsplit=2)
        goal = next((goal for part, goal in LAUNCH_GOALS.items() if name.endswith(part)), "")
        yield Figure(name, float(value), unit, goal)


def page_times(folder: Path) -> Iterator[Figure]:
    """Every page beside Streamlit's own hello page, on 1,027,840 simulated measurements."""
    told = _dashboard_script("page_times.py", "--json")
    hello, *pages = told["pages"]
    yield Figure("hello: first load", hello["first_load_s"], "s")
    yield Figure("hello: navigation", hello["navigation_s"], "s")
    for page in pages:
        name = f"page {page['page']}"
        yield Figure(
            f"{name}: first load, over hello", page["first_load_s"] - hello["first_load_s"], "s", "<= 2.5"
        )
        yield Figure(
            f"{name}: navigation, over hello", page["navigation_s"] - hello["navigation_s"], "s", "<= 1.0"
        )
        yield Figure(f"{name}: payload", page["payload_kb"], "kB", "<= 500")
        yield Figure(f"{name}: queries", page["queries_ms"], "ms", "< 100")
    yield Figure(f"an act of one of {told['sessions']} sessions, median", told["act_median_s"], "s", "< 1.5")
    yield Figure("the server's CPU time an act", told["act_cpu_ms"], "ms")
    yield Figure("server's memory then", told["server_memory_mb"], "MB", "< 700")


def large_store_reads(folder: Path) -> Iterator[Figure]:
    """What pages and commands ask of 10,044,800 simulated measurements; some minutes and 6 GB of disk.

    Filling the store tells on stderr how far it is.
    """
    url = f"sqlite:///{folder / 'kswatch.db'}"
    years = ROOT / "tests" / "dashboard" / "simulated_years.py"
    command = [sys.executable, years, url, "--patterns", "215"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    for row in _dashboard_script("query_times.py", url, "--json"):
        goal = "< 4" if row["what"] == "one series" else "< 200"
        yield Figure(f"{row['what']}: queries, 10,044,800 measurements", row["queries_ms"], "ms", goal)


def _dashboard_script(name: str, *arguments: str) -> Any:
    script = ROOT / "tests" / "dashboard" / name
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=True)
    return json.loads(done.stdout)


def detector(folder: Path) -> Iterator[Figure]:
    """Ours, ruptures' PELT and Perfherder's rule on series that others labelled."""
    published = reference()
    if published is None:
        print("detector: skipped, KSWATCH_REFERENCE names no folder of published data")
        return
    command = [sys.executable, published / "changepoint" / "score.py", "--jobs", "2"]
    command += ["--json", folder / "scores.json", "--detector", "ci.detection:change_points"]
    command += ["--detector", "tests.ci.detection.pelt:pelt_rbf"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for row in json.loads((folder / "scores.json").read_text()):
        if row["detector"] == "none":
            continue
        who = f"{row['detector'].split(':')[-1]} on {row['set']}"
        yield Figure(f"{who}: F1", row["F1"], "")
        yield Figure(f"{who}: TCPD-F1", row["tcpdF1"], "")
        yield Figure(f"{who}: alarmed share of clean series", row["clean"], "")


def store_times(folder: Path) -> Iterator[Figure]:
    """How fast a store takes what nights give, by one process that only writes."""
    command = [sys.executable, ROOT / "tests" / "store_times.py", folder]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=True)
    told = json.loads(done.stdout)
    what = f"{told['measurements']:,} measurements in nightly batches, with comparisons"
    yield Figure(what, told["bulk_s"], "s", "< 60")
    yield Figure("recording a problem of 8 cells, median", told["problem_ms"], "ms", "< 5")
    yield Figure("recording a problem of 8 cells, 95th percentile", told["problem_p95_ms"], "ms")
    yield Figure("peak memory of that process", told["peak_mb"], "MB", "< 400")


def judging(folder: Path) -> Iterator[Figure]:
    """A night of 25,000 series with 365 points each, read from packed tails, judged and stored."""
    command = [sys.executable, "-m", "tests.benchmarks.judging_load"]
    subprocess.run([*command, "build", folder / "load.db"], cwd=ROOT, check=True)
    done = subprocess.run(
        [*command, "judge", folder / "load.db"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    yield Figure(f"judging {found['series']} series of 365 nights", found["seconds"], "s", "< 60")
    yield Figure("its CPU time", found["cpu_seconds"], "s")
    yield Figure("its memory", found["gib"], "GiB", "< 1")


def nightly_time(folder: Path) -> Iterator[Figure]:
    """A newcomer's first command: set-up included, with empty caches."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "clone"], check=True)
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    started = time.perf_counter()
    subprocess.run(
        ["make", "nightly"], cwd=folder / "clone", env=environment, capture_output=True, check=True
    )
    yield Figure("make nightly in a fresh clone", (time.perf_counter() - started) / 60, "min", "< 10")


EVERY = 25
"""Of so many patterns of `paper`, one is measured; times are scaled up to all of them."""


def measurement(folder: Path) -> Iterator[Figure]:
    """A `paper` night on a simulated H200, through session, child process and store.

    Only the GPU's work is simulated: visits, warm-up and energy windows take their simulated time in
    place of what simulating them took. All other Python is real and counts as harness, together with
    the simulated time of operands and checks.
    """
    from kswatch.db.queries import basic as queries
    from kswatch.db.store import Store
    from kswatch.profiler.planning import suites as suite
    from kswatch.profiler.runs.session import run_suite

    patterns = suite.paper_patterns()
    sample = patterns[::EVERY]
    energy = round(500 * len(sample) / len(patterns))
    named = suite.Suite("sample", "", lambda: suite.cross(sample, precisions=("fp32", "fp16")), energy)
    suite.SUITES += (named,)
    with contextlib.closing(Store.open(f"sqlite:///{folder / 'kswatch.db'}")) as store:
        result = run_suite(store, "sample", "sim:h200?seed=1")
        run = queries.run(store, result.run)
    scale = len(patterns) / len(sample)
    whole = round(scale * result.cells)
    print(f"simulated: {result.cells} of {whole} cells of paper, {energy} energy problems, {run.by_status}")
    share, cell_ms = 100 * run.harness_seconds / run.seconds, 1e3 * run.harness_seconds / result.cells
    yield Figure("harness's share of a simulated paper night", share, "%", "<= 15")
    yield Figure("harness per cell", cell_ms, "ms", "<= 77")
    yield Figure("whole paper night at ±0.5 %, simulated H200", scale * run.seconds / 3600, "h", "<= 3")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    yield Figure("peak memory of the coordinator of that night", peak_mb, "MB", "< 400")


FIGURES: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "help": help_time,
    "import": import_time,
    "smoke": smoke_run,
    "measurement": measurement,
    "nightly": nightly_time,
    "store": store_times,
    "twin": twin_ratios,
    "launch": launch_path,
    "pages": page_times,
    "reads": large_store_reads,
    "detector": detector,
    "judging": judging,
}


def main() -> None:
    wanted = sys.argv[1:] or list(FIGURES)
    for name in wanted:
        if name not in FIGURES:
            raise SystemExit(f"unknown figure {name!r}; choose from {', '.join(FIGURES)}")
        with tempfile.TemporaryDirectory() as folder:
            for figure in FIGURES[name](Path(folder)):
                print(figure, flush=True)


if __name__ == "__main__":
    main()

"""The figures that README and CHANGELOG quote, measured on this machine: `make bench`.

    make bench                              # all figures, about ten minutes
    make bench FIGURES="help import"        # only these
    python -m tests.benchmarks.bench help import

Each line is a figure, its measured value, and its goal if it has one. Published data is read from the folder
in KSWATCH_REFERENCE; without it, figures that need the data are skipped.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KSWATCH = Path(sys.executable).with_name("kswatch")


@dataclass(frozen=True)
class Figure:
    """One measured number and its goal."""

    name: str
    value: float
    unit: str
    goal: str = ""

    def __str__(self) -> str:
        return f"{self.name:<58}{self.value:>9.3g} {self.unit:<8}{self.goal}"


def reference() -> Path | None:
    """The folder of published data; None if KSWATCH_REFERENCE names none."""
    folder = os.environ.get("KSWATCH_REFERENCE")
    return Path(folder) if folder else None


def run(folder: Path, *arguments: str) -> tuple[str, float]:
    """Stdout of a kswatch command with its store in the folder, and its wall time in seconds."""
    environment = os.environ | {"KSWATCH_DATABASE_URL": f"sqlite:///{folder / 'kswatch.db'}"}
    started = time.perf_counter()
    done = subprocess.run(
        [KSWATCH, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout, time.perf_counter() - started


def rig(name: str, *arguments: str | Path, variables: Mapping[str, str] | None = None) -> str:
    """Stdout of a module of this folder, run as a program with more environment variables."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *arguments]
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def help_time(folder: Path) -> Iterator[Figure]:
    seconds = [run(folder, "--help")[1] for _ in range(7)]
    yield Figure("kswatch --help, median of 7", statistics.median(seconds), "s", "< 0.5")


def startup(folder: Path) -> Iterator[Figure]:
    """Processor time of the help over bare Python; `startup.py` compares all commands of two checkouts."""
    from tests.benchmarks.startup import help_seconds

    yield Figure("kswatch --help over bare Python, processor time", help_seconds(), "s", "< 0.3")


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


TWIN_GOALS = {"d = 1": ">= 1.1", "batch_last d > 1": ">= 1.1", "batch_first d > 1": ">= 1.5"}
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Limits torch's own code and oneDNN to AVX2; MKL, which multiplies fp32, may ignore it."""
QUIET_LOAD = 0.3
"""Wall times of two threads are taken only below this load."""


def twin_ratios(folder: Path) -> Iterator[Figure]:
    """The CPU twin against the best baseline; `twin_times.py` prints every row on stderr.

    Then over the rivals of `expert` that are installed, on the smaller batches: compiling takes its time.
    """
    del folder
    yield from twin_medians("1 thread", rig("twin_times", "--json"))
    expert = rig("twin_times", "--json", "--baselines", "expert", "--precision", "fp32", "--batch", "1568")
    yield from twin_over_rivals(expert)
    avx2 = rig("twin_times", "--json", "--march", "x86-64-v3", "--precision", "fp32", variables=AVX2)
    yield from twin_medians("AVX2, 1 thread", avx2)
    if os.getloadavg()[0] - 1 > QUIET_LOAD:  # the rig above was the one running process
        print("twin: 2 threads skipped, because other processes are running")
        return
    yield from twin_medians("2 threads", rig("twin_times", "--json", "--threads", "2"))


def twin_over_rivals(report: str) -> Iterator[Figure]:
    """The median ratio to each rival by layout, and to the best of `expert`."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in json.loads(report):
        for name, ratio in {"best of expert": row["ratio"], **row["rivals"]}.items():
            groups.setdefault((name, row["layout"]), []).append(ratio)
    for (name, layout), ratios in sorted(groups.items()):
        yield Figure(f"twin over {name}, {layout}, {len(ratios)} rows", statistics.median(ratios), "×")


def twin_medians(title: str, report: str) -> Iterator[Figure]:
    """The median ratio of each group of rows, and the share of rows where the twin is behind."""
    rows = json.loads(report)
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        kind = "d = 1" if row["d"] == 1 else f"{row['layout']} d > 1"
        groups.setdefault((f"{row['precision']} {row['layout']}", kind), []).append(row["ratio"])
    for (name, kind), ratios in groups.items():
        label = f"twin, {title}, {name}, {'d = 1' if kind == 'd = 1' else 'd > 1'}"
        yield Figure(f"{label}, {len(ratios)} rows", statistics.median(ratios), "×", TWIN_GOALS[kind])
    behind = sum(row["ratio"] < 0.97 for row in rows) / len(rows)
    yield Figure(f"twin, {title}: rows under 0.97", 100 * behind, "%", "<= 5")


LAUNCH_GOALS = {"raw launch on a null driver": "<= 10", "less torch.bmm": "<= 15"}


def launch_path(folder: Path) -> Iterator[Figure]:
    """Host time of a launch and of KSLinear on a null driver, compared with a tiny `torch.bmm`."""
    for line in rig("launch_times").splitlines():
        name, value, unit = line.rsplit(maxsplit=2)
        goal = next((goal for part, goal in LAUNCH_GOALS.items() if name.endswith(part)), "")
        yield Figure(name, float(value), unit, goal)


def chain_ratios(folder: Path) -> Iterator[Figure]:
    """Chains in one pass over two calls of the twin, by rows; at one row the host time, too."""
    del folder
    for line in rig(
        "layers.chain_times",
        "--json",
        "--rows",
        "1",
        "1568",
        "--precision",
        "fp32",
        "--layout",
        "batch_first",
    ).splitlines():
        row = json.loads(line)
        if not row["chosen"]:  # a layer takes two calls
            continue
        name = f"chain {row['chain']}, {row['rows']} rows, bound {row['bound']:.3f}"
        goal = "" if row["rows"] == 1 else ">= 1.05" if row["intermediate"] == 4096 else ">= .98"
        yield Figure(f"{name}: two calls over one pass", row["ratio"], "×", goal)
        if row["host"] is not None:
            yield Figure(f"{name}: host time of one pass over that of two calls", row["host"], "", "<= .6")


def fp8_errors(folder: Path) -> Iterator[Figure]:
    """Relative errors of products in fp8 by the length of their sums, beside their limit."""
    for line in rig("layers.fp8_errors", "--json").splitlines():
        row = json.loads(line)
        goal = "" if "not promoted" in row["name"] else f"<= {row['limit']:g}"
        yield Figure(f"fp8, {row['name']}, c = {row['c']}", row["error"], "", goal)


def layer_ratios(folder: Path) -> Iterator[Figure]:
    """`KSLinear` as it is over a frozen layer, over itself with fixed batches, and over `nn.Linear`."""
    for line in rig("layer_times", "--json").splitlines():
        row = json.loads(line)
        yield Figure(row["name"], row["value"], "", row["goal"])


def model_times(folder: Path) -> Iterator[Figure]:
    """Models with Kronecker-sparse layers against dense ones; `model_times.py` prints every variant."""
    rows = json.loads(rig("layers.model_times", "--json"))
    kept = []
    for row in rows:
        name = f"{row['model']}, {row['structure']}, {row['precision']}, batch {row['batch']}"
        yield Figure(f"{name}: dense over fused", row["dense_over_fused"], "×", _model_goal(row))
        goal = {"vit_s16": ">= 1.2", "gpt2_block": ">= 1.0"}[row["model"]]
        yield Figure(f"{name}: bmm over fused", row["bmm_over_fused"], "×", goal)
        kept.append(row["best_over_auto"])
    yield Figure("models: fastest single variant over auto, median", statistics.median(kept), "×", ">= .98")
    yield Figure("models: fastest single variant over auto, least", min(kept), "×", ">= .95")


def _model_goal(row: Mapping[str, str]) -> str:
    """GPT-2's goals are those of fp32; a structure of two chains has replaced the up-projection too."""
    if row["model"] == "vit_s16":
        return ">= 1.9" if row["precision"] == "fp32" else ">= 1.5"
    return (">= 1.9" if row["structure"].count(" ") > 1 else ">= 1.35") if row["precision"] == "fp32" else ""


def layer_predictions(folder: Path) -> Iterator[Figure]:
    """Costs of layers predicted from other shapes: all families, and Strassen-Tile by its three steps."""
    score = json.loads(rig("layers.layer_predictions", "--json"))
    for kind, error in score["median_errors"].items():
        yield Figure(f"layers, {kind}: median error, held out by shape", 100 * error, "%")
    yield Figure("layers: fastest cell predicted", 100 * score["accuracy"], "%")
    yield Figure("layers: regret", 100 * score["regret"], "%")
    rows = json.loads(rig("layers.tile_predictions", "--json"))
    errors = [abs(row["predicted_ms"] / row["measured_ms"] - 1) for row in rows]
    name = f"Strassen-Tile layers: median error of {len(rows)} rows"
    yield Figure(name, 100 * statistics.median(errors), "%", "<= 15")


def page_times(folder: Path) -> Iterator[Figure]:
    """Every page compared with Streamlit's own hello page, on 1,027,840 simulated measurements."""
    report = json.loads(rig("page_times", "--json"))
    hello, *pages = report["pages"]
    yield Figure("hello: first load", hello["first_load_s"], "s")
    yield Figure("hello: navigation", hello["navigation_s"], "s")
    for page in pages:
        name = f"page {page['page']}"
        load, turn = (page[key] - hello[key] for key in ("first_load_s", "navigation_s"))
        goal = "<= 1.0" if page["page"] == "overview" else "<= 1.5"
        yield Figure(f"{name}: first load, over hello", load, "s", goal)
        yield Figure(f"{name}: navigation, over hello", turn, "s", "<= 0.6")
        yield Figure(f"{name}: payload", page["payload_kb"], "kB", "<= 500")
        yield Figure(f"{name}: transferred by a warm visit", page["warm_kb"], "kB", "<= 1500")
        yield Figure(f"{name}: queries", page["queries_ms"], "ms", "< 100")
    name = f"an action in one of {report['sessions']} sessions, median"
    yield Figure(name, report["act_median_s"], "s", "< 1.5")
    yield Figure("the server's CPU time per action", report["act_cpu_ms"], "ms")
    yield Figure("the server's memory with these sessions", report["server_memory_mb"], "MB", "< 700")


def large_store_reads(folder: Path) -> Iterator[Figure]:
    """Queries of pages and commands on 10,044,800 simulated measurements; some minutes and 6 GB of disk.

    Filling the store shows its progress on stderr.
    """
    url = f"sqlite:///{folder / 'kswatch.db'}"
    rig("simulated_years", url, "--patterns", "215")
    for row in json.loads(rig("query_times", url, "--json")):
        yield Figure(f"{row['what']}: queries, 10,044,800 measurements", row["queries_ms"], "ms", "< 200")


def change_points(folder: Path) -> Iterator[Figure]:
    """Our detector, fitted and cross-validated, Perfherder's rule and ruptures' PELT on published series."""
    published = reference()
    if published is None:
        print("change_points: skipped, KSWATCH_REFERENCE names no folder of published data")
        return
    command = [sys.executable, published / "changepoint" / "score.py", "--only", "--jobs", "2"]
    command += ["--json", folder / "scores.json", "--detector", "tests.ci.change_points.pelt:pelt_rbf"]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for row in json.loads((folder / "scores.json").read_text()):
        yield Figure(f"{row['detector'].split(':')[-1]} on {row['set']}: F1", row["F1"], "")
        yield Figure(f"{row['detector'].split(':')[-1]} on {row['set']}: TCPD-F1", row["tcpdF1"], "")
    for row in json.loads(rig("change_points.scores", "--json")):
        name = f"{row['detector']} on {row['set']}"
        yield Figure(f"{name}: F1", row["F1"], "", ">= 0.68" if "ours" in name and "222" in name else "")
        yield Figure(f"{name}: quiet series with an alarm", row["quiet series with an alarm"], "", "<= 0.1")
        yield Figure(f"{name}: false per 1,000 points", row["false per 1,000"], "", "<= 0.9")
        if row["TCPD-F1"] is not None:
            yield Figure(f"{name}: TCPD-F1", row["TCPD-F1"], "")


def store_times(folder: Path) -> Iterator[Figure]:
    """Write times of a store that receives simulated nights, in one process."""
    report = json.loads(rig("store_times", folder))
    name = f"{report['measurements']:,} measurements in nightly batches, with comparisons"
    yield Figure(name, report["bulk_s"], "s", "< 60")
    yield Figure("recording a problem of 8 cells, median", report["problem_ms"], "ms", "< 5")
    yield Figure("recording a problem of 8 cells, 95th percentile", report["problem_p95_ms"], "ms")
    yield Figure("peak memory of that process", report["peak_mb"], "MB", "< 400")


def judging(folder: Path) -> Iterator[Figure]:
    """A night of 25,000 series with 365 points each, read from packed tails, judged and stored."""
    rig("judging_load", "build", folder / "load.db")
    report = json.loads(rig("judging_load", "judge", folder / "load.db"))
    yield Figure(f"judging {report['series']} series of 365 nights", report["seconds"], "s", "< 60")
    yield Figure("its CPU time", report["cpu_seconds"], "s")
    yield Figure("its memory", report["gib"], "GiB", "< 1")


def nightly_time(folder: Path) -> Iterator[Figure]:
    """The first command in a fresh clone, including the set-up, with empty caches."""
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "clone"], check=True)
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    started = time.perf_counter()
    subprocess.run(
        ["make", "nightly"], cwd=folder / "clone", env=environment, capture_output=True, check=True
    )
    yield Figure("make nightly in a fresh clone", (time.perf_counter() - started) / 60, "min", "< 10")


SAMPLED = 25
"""One in this many patterns of `paper` is measured; times are scaled up to all of them."""


def measurement(folder: Path) -> Iterator[Figure]:
    """A `paper` night on a simulated H200, through session, child process and store.

    Only the GPU's work is simulated: visits, warm-up and energy windows take their simulated time in place of
    the real time of simulating them. All other Python is real and counts as overhead, together with the
    simulated time of operands and checks.
    """
    from kswatch.db.queries import basic as queries
    from kswatch.db.store import Store
    from kswatch.profiler.planning import suites as suite
    from kswatch.profiler.runs.session import run_suite

    patterns = suite.paper_patterns()
    sample = patterns[::SAMPLED]
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
    yield Figure("overhead's share of a simulated paper night", share, "%", "<= 15")
    yield Figure("overhead per cell", cell_ms, "ms", "<= 77")
    yield Figure("whole paper night at ±0.5 %, simulated H200", scale * run.seconds / 3600, "h", "<= 3")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    yield Figure("peak memory of the coordinator of that night", peak_mb, "MB", "< 400")


FIGURES: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "help": help_time,
    "startup": startup,
    "import": import_time,
    "smoke": smoke_run,
    "measurement": measurement,
    "nightly": nightly_time,
    "store": store_times,
    "twin": twin_ratios,
    "launch": launch_path,
    "chain": chain_ratios,
    "fp8": fp8_errors,
    "layer": layer_ratios,
    "layers": layer_predictions,
    "models": model_times,
    "pages": page_times,
    "reads": large_store_reads,
    "change_points": change_points,
    "judging": judging,
}


def main() -> None:
    """Print the figures that the arguments name, or all of them."""
    wanted = sys.argv[1:] or list(FIGURES)
    for name in wanted:
        if name not in FIGURES:
            raise SystemExit(f"unknown figure {name!r}; choose from {', '.join(FIGURES)}")
        with tempfile.TemporaryDirectory() as folder:
            for figure in FIGURES[name](Path(folder)):
                print(figure, flush=True)


if __name__ == "__main__":
    main()

r"""First measurements on a new GPU, in stages with time limits: `make first-light`.

    python -m tests.benchmarks.first_light                          # all stages, in the order of --list
    python -m tests.benchmarks.first_light --within 9m --copy /data/out    # the same command continues later
    python -m tests.benchmarks.first_light --only "check: wgmma" vit_s16 --again
    python -m tests.benchmarks.first_light --device sim:h200        # a rehearsal without the stages for a GPU
    python -m tests.benchmarks.first_light --list                   # the stages and their limits
    python -m tests.benchmarks.first_light --needs                  # missing packages

Every stage is a separate process with a time limit, so that a kernel that hangs or fails costs only its
stage. The folder of --out holds log.txt and summary.json, which are updated during the stages; a stage that
has finished there is repeated by --again, or by its name in --only. `kswatch import` reads runs.jsonl.gz;
copy it to db/recorded/.

Half an hour is three calls with `--within 9m`, by estimate, on 16 cores:

    1. packages 2 min, doctor, kernels of the trials (151, a second or two of one core each: 0.3 min), check:
       3 to 4 min, kernels of vit_s16 0.2 min, tune 2 min
    2. ladder 1 min, vit_s16 6 min, export, kernels of paper 0.5 min; then there is no time left for paper
    3. paper 8 min, export of all; with more time, compute-sanitizer

Where each call starts on a fresh machine, the folder of --out is lost, too: then give each call its own
--copy, the second one `--only packages "check: wgmma" vit_s16 export --shorter 2m`, the third one `--only
packages "check: wgmma" paper "export of all" --shorter 3m`: wgmma is trusted on the checked GPU only.

Without a network: on a machine with one, for the Python and platform of the GPU's machine,

    pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 -d wheels NAME...
    pip download --no-deps --no-binary :all: pycuda -d wheels    # has no wheels; needs g++ and a CUDA toolkit

with the names that --needs prints there; on the GPU's machine --packages wheels installs them into the
folder of --out. PyCUDA takes a minute or three to build (`echo CUDA_ENABLE_CURAND = False >
~/.aksetup-defaults.py` where the toolkit has no cuRAND).

Compiled kernels can be carried, too: run the stages `compile ...` with a toolkit no newer than the GPU's
driver (13.0 for driver 580) and a folder in KSWATCH_CACHE (`--only "compile trials" --device sim:h200` needs
no GPU), and carry the folder: 329 kernels with their sidecars are 6.5 MB, without stripping.
With KSWATCH_CUBINS=any, kernels of another nvcc than the machine's own are used.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
KSWATCH = (PYTHON, "-m", "kswatch")
TRIALS = (PYTHON, "-m", "kswatch.kernels.fused.cuda_checks.trials")
COMPILE = (PYTHON, "-m", "tests.benchmarks.compile_ahead")
SANITIZER = "compute-sanitizer"

COPY_INTERVAL_S = 10
TERMINATION_S = 8
"""Time for a stage to exit after SIGTERM, before it is killed."""
OUTPUT_LINES = 6
UNITS_S = {"s": 1, "m": 60, "h": 3600}

NEEDED = (
    *(
        "alembic",
        "mako",
        "markupsafe",
        "numpy",
        "platformdirs",
        "psutil",
        "pycuda",
        "pynvml",
        "pytools",
        "rich",
    ),
    *("scipy", "siphash24", "sqlalchemy", "threadpoolctl", "torch", "typer", "typing_extensions"),
)
"""Import names of the modules that the stages need."""
PACKAGES = {"pynvml": "nvidia-ml-py", "typing_extensions": "typing-extensions"}
"""Names of packages that differ from their modules."""


@dataclass(frozen=True)
class Stage:
    """One process with its time limit."""

    name: str
    limit_s: float
    command: tuple[str, ...]
    needs_gpu: bool = True
    needs_program: str | None = None
    least_s: float = 15
    """Least time left to start it; otherwise it is left for the next call."""


@dataclass
class StageResult:
    """Outcome of a stage, as written to summary.json."""

    name: str
    state: str
    """`done`, `failed`, `cut` at the end of the time, `hung` beyond its own limit, or `unavailable`."""
    seconds: float = 0.0
    exit_code: int | None = None
    output: list[str] = field(default_factory=list)
    """Its last lines, or the reason why it was not run."""


def install_stage(packages: Path, out: Path) -> Stage:
    """The stage that installs wheels and sources of a folder into the folder of --out, without a network."""
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    files = sorted(str(path.resolve()) for path in packages.iterdir() if path.suffix in (".whl", ".gz"))
    return Stage("packages", 300, (*pip, "--upgrade", "--target", str(out / "site"), *files), needs_gpu=False)


def stages(device: str, out: Path, shorter_s: float = 0) -> Iterator[Stage]:
    """All stages in order: later ones use the results of earlier ones."""
    trials, ladder, tiles = out / "trials.jsonl", out / "ladder.md", out / "tiles" / "sm_90.toml"
    on = ("--device", device)
    yield Stage("doctor", 120, (*KSWATCH, "doctor"), needs_gpu=False)
    yield Stage("compile trials", 300, (*COMPILE, "trials"), needs_gpu=False)
    families = [("cores", "fp32"), *(("tensor_cores", kind) for kind in ("fp16", "bf16", "tf32", "fp32"))]
    for family, precision in families:
        command = (*TRIALS, "--family", family, "--precision", precision, "--into", str(trials))
        yield Stage(f"check: {family} {precision}", 90, command)
    yield Stage("check: wgmma", 90, (PYTHON, "-m", "kswatch.kernels.fused.cuda_checks.trust"))
    yield Stage("compile vit_s16", 240, (*COMPILE, "vit_s16", "--most", "4"), needs_gpu=False)
    tune = (*KSWATCH, "tune", "vit_s16", *on, "--most", "4", "--budget", "2m", "--export", str(tiles))
    yield Stage("tune vit_s16", 180, tune, least_s=140)
    yield Stage(
        "ladder", 120, (PYTHON, "-m", "kswatch.kernels.fused.cuda_checks.ladder", "--measure", str(ladder))
    )
    yield profiling("vit_s16", 360 - shorter_s, on)
    yield Stage("export", 60, export(out), needs_gpu=False)
    yield Stage("compile paper", 240, (*COMPILE, "paper"), needs_gpu=False)
    yield profiling("paper", 480 - shorter_s, on)
    yield Stage("export of all", 60, export(out), needs_gpu=False)
    small = (*TRIALS, "--most", "3", "--precision")
    for tool, kind in (("memcheck", "fp16"), ("racecheck", "fp16")):
        command = (SANITIZER, "--tool", tool, "--error-exitcode", "3", *small, kind)
        yield Stage(f"{tool} {kind}", 60, command, needs_program=SANITIZER)


def profiling(suite: str, budget_s: float, on: tuple[str, ...]) -> Stage:
    """The stage that measures a suite within a budget, with time to start and to finish."""
    command = (*KSWATCH, "profile", suite, *on, "--budget", f"{budget_s:.0f}s")
    return Stage(suite, budget_s + 80, command, needs_gpu=False, least_s=budget_s + 20)


def export(out: Path) -> tuple[str, ...]:
    """The command that exports all runs to a file."""
    return (*KSWATCH, "export", "--all", str(out / "runs.jsonl.gz"))


@dataclass
class StageRunner:
    """Runs stages until a deadline, and writes their results."""

    out: Path
    copy: Path | None
    device: str
    gpu: bool
    until: float
    """Deadline by `time.monotonic`."""
    results: dict[str, StageResult] = field(default_factory=dict)

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.until - time.monotonic()

    def run(self, stage: Stage) -> StageResult:
        """Run the stage, unless this machine lacks its needs; its result is written in either case."""
        self.results[stage.name] = self._unavailable(stage) or self._process(stage)
        self.write()
        return self.results[stage.name]

    def _unavailable(self, stage: Stage) -> StageResult | None:
        if stage.needs_gpu and not self.gpu:
            return StageResult(stage.name, "unavailable", output=["no NVIDIA GPU: not tried"])
        if stage.needs_program and not shutil.which(stage.needs_program):
            return StageResult(
                stage.name, "unavailable", output=[f"no {stage.needs_program} on the PATH: not tried"]
            )
        return None

    def _process(self, stage: Stage) -> StageResult:
        limit_s, started = min(stage.limit_s, self.left_s()), time.monotonic()
        with (self.out / "log.txt").open("a") as log:
            print(f"\n==== {stage.name}: {' '.join(stage.command)}", file=log, flush=True)
            begin = log.tell()
            code = self._wait(stage.command, log.fileno(), started + limit_s)
        seconds = time.monotonic() - started
        state = "done" if code == 0 else "failed" if code is not None else "hung"
        if code is None and limit_s < stage.limit_s:
            state = "cut"
        return StageResult(
            stage.name, state, round(seconds, 1), code, last_lines(self.out / "log.txt", begin)
        )

    def _wait(self, command: tuple[str, ...], log: int, until: float) -> int | None:
        """The exit code; None for a process that had to be killed, with its children."""
        child = subprocess.Popen(
            command, cwd=ROOT, env=self._environment(), stdout=log, stderr=log, start_new_session=True
        )
        try:
            while time.monotonic() < until:
                try:
                    return child.wait(min(COPY_INTERVAL_S, max(0.0, until - time.monotonic())))
                except subprocess.TimeoutExpired:
                    self.write()
            return None
        finally:
            if child.poll() is None:
                terminate(child)

    def _environment(self) -> dict[str, str]:
        store = f"sqlite:///{self.out / 'store' / 'kswatch.db'}"
        return {
            **os.environ,
            "KSWATCH_DATABASE_URL": store,
            "KSWATCH_TILES": str(self.out / "tiles"),
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(ROOT), str(self.out / "site"), os.environ.get("PYTHONPATH")])
            ),
            "PYTHONUNBUFFERED": "1",
        }

    def write(self) -> None:
        """Write the summary, and copy the small files to the folder of --copy."""
        document = {
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": self.device,
            "gpu": self.gpu,
            "stages": [asdict(result) for result in self.results.values()],
        }
        path = self.out / "summary.json"
        path.with_suffix(".writing").write_text(json.dumps(document, indent=1))
        path.with_suffix(".writing").replace(path)
        for source in self._copied() if self.copy else ():
            shutil.copy(source, self.copy / source.name)

    def _copied(self) -> list[Path]:
        names = ("summary.json", "log.txt", "trials.jsonl", "ladder.md", "runs.jsonl.gz")
        files = [self.out / name for name in names] + sorted((self.out / "tiles").glob("*.toml"))
        return [path for path in files if path.exists()]


def terminate(child: subprocess.Popen[bytes]) -> None:
    """Terminate a process, then kill it with its children."""
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(TERMINATION_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def last_lines(log: Path, begin: int) -> list[str]:
    """The last lines of a stage's output."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    return [line for line in lines if line.strip()][-OUTPUT_LINES:]


def earlier_results(out: Path) -> dict[str, StageResult]:
    """Results of earlier calls in the same folder."""
    try:
        document = json.loads((out / "summary.json").read_text())
    except (OSError, ValueError):
        return {}
    return {result["name"]: StageResult(**result) for result in document["stages"]}


def is_pending(result: StageResult | None) -> bool:
    """Whether the same command runs the stage: a failed one would use the time of later stages again."""
    return result is None or result.state in ("cut", "unavailable")


def missing() -> list[str]:
    """Packages that are not installed."""
    return sorted(PACKAGES.get(module, module) for module in NEEDED if find_spec(module) is None)


def has_gpu() -> bool:
    """Whether torch sees a GPU; checked in a separate process, which may hang."""
    command = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    try:
        return subprocess.run([PYTHON, "-c", command], timeout=120, capture_output=True).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def seconds_of(text: str) -> float:
    """Seconds of `90s`, `9m` or `1h`."""
    if text[-1:] not in UNITS_S or not text[:-1].replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write it as 90s, 9m or 1h")
    return float(text[:-1]) * UNITS_S[text[-1]]


def run_stages(options: argparse.Namespace) -> int:
    """Run the chosen stages that are pending; returns 0 if none has failed."""
    out = options.out.resolve()
    for folder in (out, out / "store", out / "tiles", *([options.copy] if options.copy else [])):
        folder.mkdir(parents=True, exist_ok=True)
    gpu = not options.device.startswith("sim:") and has_gpu()
    until = time.monotonic() + options.within
    runner = StageRunner(out, options.copy, options.device, gpu, until, earlier_results(out))
    first = [install_stage(options.packages, out)] if options.packages else []
    for stage in [*first, *stages(options.device, out, options.shorter)]:
        if options.only and stage.name not in options.only:
            continue
        if not (options.again or options.only or is_pending(runner.results.get(stage.name))):
            continue
        if runner.left_s() < stage.least_s:
            print(f"no time left for {stage.name}; the same command continues there", flush=True)
            break
        result = runner.run(stage)
        print(f"{result.state:<12}{result.seconds:>7.1f} s  {result.name}", flush=True)
        if result.state != "done":
            print("".join(f"    {line}\n" for line in result.output), end="", flush=True)
    print(f"{out / 'summary.json'}")
    return int(any(result.state in ("failed", "hung") for result in runner.results.values()))


def main() -> int:
    """Parse the options and run the stages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "first_light", help="folder; ./first_light by default"
    )
    parser.add_argument(
        "--copy", type=Path, help="folder for copies of summary, log and exports during the run"
    )
    parser.add_argument("--packages", type=Path, help="folder of wheels and sources to install first")
    parser.add_argument("--device", default="cuda", help="cuda by default, or sim:h200 for a rehearsal")
    parser.add_argument(
        "--within", type=seconds_of, default="30m", help="time limit of the call, as 9m; 30m by default"
    )
    parser.add_argument(
        "--shorter", type=seconds_of, default="0s", help="shorten the budgets of suites by this time, as 2m"
    )
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="run these stages only")
    parser.add_argument("--again", action="store_true", help="repeat stages that have finished before")
    parser.add_argument("--list", action="store_true", help="print the stages and their limits")
    parser.add_argument("--needs", action="store_true", help="print the missing packages")
    options = parser.parse_args()
    if options.needs:
        print("\n".join(missing()) or "no package is missing")
        return 0
    if options.list:
        for stage in stages(options.device, options.out, options.shorter):
            gpu = "" if stage.needs_gpu else "  also without a GPU"
            print(f"{stage.limit_s:>4.0f} s  {stage.name:<28}{gpu}")
        return 0
    return run_stages(options)


if __name__ == "__main__":
    sys.exit(main())

r"""One visit to a GPU that nobody has measured on yet, told as it goes: `make first-light`.

    python tests/benchmarks/first_light.py                          # all stages, in the order that --list tells
    python tests/benchmarks/first_light.py --within 9m --copy /data/out    # go on tomorrow with the same command
    python tests/benchmarks/first_light.py --only "right: wgmma" vit_s16 --again
    python tests/benchmarks/first_light.py --device sim:h200        # a rehearsal; what needs a GPU is told as such
    python tests/benchmarks/first_light.py --list                  # the stages and their limits
    python tests/benchmarks/first_light.py --needs                  # packages that are missing here

Every stage is a process of its own with a time limit, so that a kernel that hangs or fails takes only its
stage along. In the folder of --out, log.txt and summary.json are written as it goes; a stage that has come
to an end there is run again by --again, or by its name in --only. runs.jsonl.gz is what `kswatch import`
takes; copy it to db/recorded/.

Half an hour is three calls with `--within 9m`, by estimate, on 16 cores:

    1. packages 2 min, doctor, kernels of the trials (151, a second or two of one core each: 0.3 min), right:
       3 to 4 min, kernels of vit_s16 0.2 min, tune 2 min
    2. ladder 1 min, vit_s16 6 min, export, kernels of paper 0.5 min; then there is no time left for paper
    3. paper 8 min, export of all; with more time, compute-sanitizer

Where each call finds a bare machine, the folder of --out is gone, too: then give each a --copy of its own,
the second `--only packages "right: wgmma" vit_s16 export --shorter 2m`, the third `--only packages
"right: wgmma" paper "export of all" --shorter 3m`. wgmma is trusted on the very GPU that was checked.

Without a network: on a machine with one, for the Python and platform of the GPU's,

    pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64 -d wheels NAME...
    pip download --no-deps --no-binary :all: pycuda -d wheels    # has no wheels; needs g++ and a CUDA toolkit

with the names that --needs tells there, and on the GPU's machine --packages wheels installs them into the
folder of --out. PyCUDA takes a minute or three to build (`echo CUDA_ENABLE_CURAND = False >
~/.aksetup-defaults.py` where the toolkit has no cuRAND).

Compiled kernels travel, too: run the stages `compile ...` with a toolkit no newer than the GPU's driver
(13.0 for driver 580) and KSWATCH_CACHE naming a folder (`--only "compile trials" --device sim:h200` asks for
no GPU), and carry it: 329 kernels with their sidecars are 6.5 MB, nothing needs to be stripped.
KSWATCH_CUBINS=any makes kernels of another nvcc than the machine's own serve.
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
COMPILE = (PYTHON, str(ROOT / "tests" / "kernels" / "fused" / "compile_ahead.py"))
SANITIZER = "compute-sanitizer"

COPIED_EVERY_S = 10
ENDS_WITHIN_S = 8
"""What a stage has to end by itself, once it is told to."""
SAID_LINES = 6
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
"""Modules that the stages import, by their names in Python."""
PACKAGES = {"pynvml": "nvidia-ml-py", "typing_extensions": "typing-extensions"}
"""Where a package is called otherwise than its module."""


@dataclass(frozen=True)
class Stage:
    """One process of the visit."""

    name: str
    limit_s: float
    command: tuple[str, ...]
    needs_gpu: bool = True
    needs_program: str | None = None
    least_s: float = 15
    """With less than this left it is not begun, but left for the next call."""


@dataclass
class Told:
    """What became of a stage, as summary.json has it."""

    name: str
    state: str
    """`done`, `failed`, `cut` for want of time, `hung` past its own limit, or `not here`."""
    seconds: float = 0.0
    exit_code: int | None = None
    said: list[str] = field(default_factory=list)
    """Its last lines, or why it was not run."""


def installing(packages: Path, out: Path) -> Stage:
    """Wheels and sources of a folder into one of ours, without a network."""
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    files = sorted(str(path.resolve()) for path in packages.iterdir() if path.suffix in (".whl", ".gz"))
    return Stage("packages", 300, (*pip, "--upgrade", "--target", str(out / "site"), *files), needs_gpu=False)


def stages(device: str, out: Path, shorter_s: float = 0) -> Iterator[Stage]:
    """All of them, in the order in which what comes later rests on what came before."""
    right, ladder, tiles = out / "right.jsonl", out / "ladder.md", out / "tiles" / "sm_90.toml"
    on = ("--device", device)
    yield Stage("doctor", 120, (*KSWATCH, "doctor"), needs_gpu=False)
    yield Stage("compile trials", 300, (*COMPILE, "trials"), needs_gpu=False)
    families = [("cores", "fp32"), *(("tensor_cores", kind) for kind in ("fp16", "bf16", "tf32", "fp32"))]
    for family, precision in families:
        command = (*TRIALS, "--family", family, "--precision", precision, "--into", str(right))
        yield Stage(f"right: {family} {precision}", 90, command)
    yield Stage("right: wgmma", 90, (PYTHON, "-m", "kswatch.kernels.fused.cuda_checks.trust"))
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
    """A suite within a budget, with time to begin and to end."""
    command = (*KSWATCH, "profile", suite, *on, "--budget", f"{budget_s:.0f}s")
    return Stage(suite, budget_s + 80, command, needs_gpu=False, least_s=budget_s + 20)


def export(out: Path) -> tuple[str, ...]:
    """The command that writes all runs to a file."""
    return (*KSWATCH, "export", "--all", str(out / "runs.jsonl.gz"))


@dataclass
class Visit:
    """Where it writes, and how long it may last."""

    out: Path
    copy: Path | None
    device: str
    gpu: bool
    until: float
    """Of `time.monotonic`."""
    told: dict[str, Told] = field(default_factory=dict)

    def left_s(self) -> float:
        """Until all must be over."""
        return self.until - time.monotonic()

    def run(self, stage: Stage) -> Told:
        """The stage, or why it is not run here; written down in either case."""
        self.told[stage.name] = self._not_here(stage) or self._process(stage)
        self.write()
        return self.told[stage.name]

    def _not_here(self, stage: Stage) -> Told | None:
        if stage.needs_gpu and not self.gpu:
            return Told(stage.name, "not here", said=["no NVIDIA GPU: not tried"])
        if stage.needs_program and not shutil.which(stage.needs_program):
            return Told(stage.name, "not here", said=[f"no {stage.needs_program} on the PATH: not tried"])
        return None

    def _process(self, stage: Stage) -> Told:
        limit_s, started = min(stage.limit_s, self.left_s()), time.monotonic()
        with (self.out / "log.txt").open("a") as log:
            print(f"\n==== {stage.name}: {' '.join(stage.command)}", file=log, flush=True)
            begin = log.tell()
            code = self._wait(stage.command, log.fileno(), started + limit_s)
        seconds = time.monotonic() - started
        state = "done" if code == 0 else "failed" if code is not None else "hung"
        if code is None and limit_s < stage.limit_s:
            state = "cut"
        return Told(stage.name, state, round(seconds, 1), code, last_lines(self.out / "log.txt", begin))

    def _wait(self, command: tuple[str, ...], log: int, until: float) -> int | None:
        """The exit code; None for a process that had to be killed, all that it started included."""
        child = subprocess.Popen(
            command, cwd=ROOT, env=self._environment(), stdout=log, stderr=log, start_new_session=True
        )
        try:
            while time.monotonic() < until:
                try:
                    return child.wait(min(COPIED_EVERY_S, max(0.0, until - time.monotonic())))
                except subprocess.TimeoutExpired:
                    self.write()
            return None
        finally:
            if child.poll() is None:
                end(child)

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
        """The summary, and copies of what is small where copies are wanted."""
        document = {
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "device": self.device,
            "gpu": self.gpu,
            "stages": [asdict(told) for told in self.told.values()],
        }
        path = self.out / "summary.json"
        path.with_suffix(".writing").write_text(json.dumps(document, indent=1))
        path.with_suffix(".writing").replace(path)
        for source in self._copied() if self.copy else ():
            shutil.copy(source, self.copy / source.name)

    def _copied(self) -> list[Path]:
        names = ("summary.json", "log.txt", "right.jsonl", "ladder.md", "runs.jsonl.gz")
        files = [self.out / name for name in names] + sorted((self.out / "tiles").glob("*.toml"))
        return [path for path in files if path.exists()]


def end(child: subprocess.Popen[bytes]) -> None:
    """Tells a process to end, then ends it with all that it started."""
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(ENDS_WITHIN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def last_lines(log: Path, begin: int) -> list[str]:
    """The end of what a stage said."""
    with log.open("rb") as file:
        file.seek(begin)
        said = file.read().decode(errors="replace").splitlines()
    return [line for line in said if line.strip()][-SAID_LINES:]


def before(out: Path) -> dict[str, Told]:
    """What an earlier call has told in the same folder."""
    try:
        document = json.loads((out / "summary.json").read_text())
    except (OSError, ValueError):
        return {}
    return {told["name"]: Told(**told) for told in document["stages"]}


def may_run_again(told: Told | None) -> bool:
    """Whether the same command takes a stage up: what failed would take the time of what comes after."""
    return told is None or told.state in ("cut", "not here")


def missing() -> list[str]:
    """Packages whose modules are not here."""
    return sorted(PACKAGES.get(module, module) for module in NEEDED if find_spec(module) is None)


def has_gpu() -> bool:
    """Whether torch sees one; asked in a process of its own, which may hang."""
    asks = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    try:
        return subprocess.run([PYTHON, "-c", asks], timeout=120, capture_output=True).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def seconds_of(text: str) -> float:
    """`90s`, `9m` or `1h`."""
    if text[-1:] not in UNITS_S or not text[:-1].replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write it as 90s, 9m or 1h")
    return float(text[:-1]) * UNITS_S[text[-1]]


def visit(options: argparse.Namespace) -> int:
    """Runs what is wanted and not done yet; 0 if nothing failed."""
    out = options.out.resolve()
    for folder in (out, out / "store", out / "tiles", *([options.copy] if options.copy else [])):
        folder.mkdir(parents=True, exist_ok=True)
    gpu = not options.device.startswith("sim:") and has_gpu()
    going = Visit(out, options.copy, options.device, gpu, time.monotonic() + options.within, before(out))
    first = [installing(options.packages, out)] if options.packages else []
    for stage in [*first, *stages(options.device, out, options.shorter)]:
        if options.only and stage.name not in options.only:
            continue
        if not (options.again or options.only or may_run_again(going.told.get(stage.name))):
            continue
        if going.left_s() < stage.least_s:
            print(f"no time left for {stage.name}; the same command goes on there", flush=True)
            break
        told = going.run(stage)
        print(f"{told.state:<9}{told.seconds:>7.1f} s  {told.name}", flush=True)
        if told.state != "done":
            print("".join(f"    {line}\n" for line in told.said), end="", flush=True)
    print(f"{out / 'summary.json'}")
    return int(any(told.state in ("failed", "hung") for told in going.told.values()))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "first_light", help="folder; ./first_light by default"
    )
    parser.add_argument("--copy", type=Path, help="folder that gets summary, log and exports while it runs")
    parser.add_argument("--packages", type=Path, help="folder of wheels and sources to install first")
    parser.add_argument("--device", default="cuda", help="cuda by default, or sim:h200 for a rehearsal")
    parser.add_argument("--within", type=seconds_of, default="30m", help="all of it, as 9m; 30m by default")
    parser.add_argument(
        "--shorter", type=seconds_of, default="0s", help="than usual the budgets of suites, as 2m"
    )
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="these stages alone")
    parser.add_argument("--again", action="store_true", help="also stages that have succeeded before")
    parser.add_argument("--list", action="store_true", help="the stages and their limits")
    parser.add_argument("--needs", action="store_true", help="packages that are missing here")
    options = parser.parse_args()
    if options.needs:
        print("\n".join(missing()) or "nothing is missing")
        return 0
    if options.list:
        for stage in stages(options.device, options.out, options.shorter):
            gpu = "" if stage.needs_gpu else "  also without a GPU"
            print(f"{stage.limit_s:>4.0f} s  {stage.name:<28}{gpu}")
        return 0
    return visit(options)


if __name__ == "__main__":
    sys.exit(main())

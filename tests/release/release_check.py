"""`make release-check`: wheel and sdist, each installed into a new environment, with a night from each.

    python -m tests.release.release_check dist            # what lies in dist/
    TAG=v0.2.0 python -m tests.release.release_check dist   # the tag must be that of the version

Each environment gets the dependencies that the distribution declares, by the constraints, so a missing one
is found. The nights run in a folder outside the checkout. Takes some minutes each, most to install torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALL_LIMIT_S, NIGHT_LIMIT_S = 1800, 600
NIGHT = ("nightly", "--device", "cpu", "--suite", "smoke", "--budget", "20s", "--json")


def main() -> None:
    """Check every distribution in the folder that the command line names; exits with 1 at the first fault."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    distributions = [*folder.glob("kswatch-*.whl"), *folder.glob("kswatch-*.tar.gz")]
    if len(distributions) != 2:
        raise SystemExit(f"{folder} has {len(distributions)} distributions; wanted: one wheel and one sdist")
    check_tag(os.environ.get("TAG", ""), distributions)
    for distribution in distributions:
        with tempfile.TemporaryDirectory(prefix="kswatch-release-") as scratch:
            check(distribution, Path(scratch))


def check_tag(tag: str, distributions: list[Path]) -> None:
    """Compare the tag with the version of the distributions; without a tag nothing is compared."""
    wrong = [path.name for path in distributions if f"-{tag.removeprefix('v')}" not in path.name]
    if tag and wrong:
        raise SystemExit(f"the tag {tag} is not the version of {', '.join(wrong)}; correct pyproject.toml")


def check(distribution: Path, scratch: Path) -> None:
    """Install one distribution with its dependencies, and measure and read a night."""
    started = time.monotonic()
    python = scratch / "environment/bin/python"
    run(scratch, INSTALL_LIMIT_S, sys.executable, "-m", "venv", scratch / "environment")
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")
    run(scratch, INSTALL_LIMIT_S, python, *install, "--constraint", ROOT / "constraints.txt", distribution)
    report(distribution, "installed", started)

    kswatch = python.with_name("kswatch")
    place = run(scratch, 60, python, "-P", "-c", "import kswatch; print(kswatch.__file__)").strip()
    if not Path(place).is_relative_to(scratch):
        raise SystemExit(f"{distribution.name}: kswatch is imported from {place}")
    night = json.loads(run(scratch, NIGHT_LIMIT_S, kswatch, *NIGHT))
    run(scratch, NIGHT_LIMIT_S, kswatch, "check", "--json")
    recorded = json.loads(run(scratch, NIGHT_LIMIT_S, kswatch, "runs", "--json"))
    measured = recorded[0]["by_status"].keys() & {"ok", "not_converged"}
    if not night or recorded[0]["state"] != "finished" or not measured:
        raise SystemExit(f"{distribution.name}: the night measured nothing: {recorded}")
    report(distribution, f"a night of {recorded[0]['cells']} cells, {recorded[0]['by_status']}", started)


def run(folder: Path, limit_s: float, *command: object) -> str:
    """Stdout of a command in a folder outside the checkout, with a store and a cache of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("KSWATCH_", "PYTHON"))
    }
    environment["KSWATCH_CACHE"] = str(folder / "cache")
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=limit_s
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout


def report(distribution: Path, text: str, started: float) -> None:
    """One line of progress."""
    print(f"{distribution.name}: {text} ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()

"""Reports of `ncu`, kept as artifacts of an ad-hoc run: one for each product that `fused` computed.

They are made after the run, so that profiling disturbs no measurement, while the device is held.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from kswatch.db.artifacts.stored import LARGEST_BYTES, NCU, add_artifact
from kswatch.db.backend.mapping import field_names
from kswatch.db.coordination import leases
from kswatch.db.queries.basic import measurements, run
from kswatch.db.records import COMPARABLE, FACTOR, FUSED, ProblemKey
from kswatch.db.request_queue.confirmation import problem_text
from kswatch.db.store import Store
from kswatch.errors import MeasurementError
from kswatch.kernels.fused.cuda.nvcc import find_tool
from kswatch.profiler.backends.ncu import NOT_INSTALLED, CountersRefused, run_ncu
from kswatch.profiler.liveness.device_lease import hold_device

MOST_REPORTS = 20
PROBLEM_FIELDS = field_names(ProblemKey)
TIMEOUT_S = 300.0


def keep_reports(
    store: Store,
    run_id: int,
    note: Callable[[str], None],
    ncu: str | None = None,
    may_continue: Callable[[], bool] = lambda: True,
) -> int:
    """Store a report for each product of `fused` in a run, and return their number.

    Args:
        store: With the run.
        run_id: An ended run on a GPU of this host.
        note: Receives a sentence for each report that cannot be made or is too large.
        ncu: The program, by default the one on the PATH.
        may_continue: Asked before each report.

    Raises:
        MeasurementError: `ncu` is not installed, or the device is no GPU or is in use.
    """
    program = ncu or find_tool("ncu")
    if program is None:
        raise MeasurementError(f"no report is kept: {NOT_INSTALLED}")
    about = run(store, run_id)
    if store.run_plan(run_id).device.kind != "cuda":
        raise MeasurementError("no report is kept: ncu profiles NVIDIA GPUs only")
    problems = _problems(store, run_id)
    if len(problems) > MOST_REPORTS:
        note(f"reports of the first {MOST_REPORTS} of {len(problems)} products are kept")
    kept = 0
    with hold_device(store, about.device_uuid, leases.LEASE_SECONDS) as held:
        for number, problem in enumerate(problems[:MOST_REPORTS]):
            if not may_continue():
                note(f"its time limit or a stop left {len(problems) - number} products without a report")
                break
            leases.heartbeat(store, held)
            try:
                content = _report(program, problem, about.device_uuid, about.seed)
            except CountersRefused as error:
                note(f"{problem.words}: {error}")
                continue
            if len(content) > LARGEST_BYTES:
                note(f"{problem.words}: its report is larger than {LARGEST_BYTES // 1_000_000} MB")
                continue
            name = f"run{run_id}-{FUSED}-{problem_text(problem).replace(',', '_')}.ncu-rep"
            add_artifact(store, run_id, NCU, name, content)
            kept += 1
    return kept


def _problems(store: Store, run_id: int) -> Sequence[ProblemKey]:
    """The products that `fused` computed correctly in a run."""
    rows = measurements(store, run_id)
    fine = [row for row in rows if row.implementation == FUSED and row.status in COMPARABLE]
    keys = {ProblemKey(*(getattr(row, name) for name in PROBLEM_FIELDS)) for row in fine}
    return sorted(key for key in keys if key.subject == FACTOR)


def _report(program: str, problem: ProblemKey, device_uuid: str, seed: int) -> bytes:
    """The bytes of one report.

    Raises:
        CountersRefused: ncu made none.
    """
    with tempfile.TemporaryDirectory(prefix="kswatch-ncu-") as folder:
        path = Path(folder) / "report.ncu-rep"
        options = ["--set", "full", "--export", str(path), "--force-overwrite"]
        product = (problem_text(problem), FUSED, str(seed))
        run_ncu(program, options, product, TIMEOUT_S, {"CUDA_VISIBLE_DEVICES": device_uuid})
        try:
            with path.open("rb") as file:
                content = file.read(LARGEST_BYTES + 1)
        except OSError as error:
            raise CountersRefused(f"ncu wrote no report ({error.strerror})") from None
    if not content:
        raise CountersRefused("ncu wrote an empty report")
    return content

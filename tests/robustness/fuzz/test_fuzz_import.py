"""The door of imports: mutated files record whole runs or nothing, and take little memory."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import func, select

from kswatch.db.compiled_code.resources import record_resources
from kswatch.db.coordination.run_events import add_run_event
from kswatch.db.coordination.run_log import log
from kswatch.db.interchange.importing import export_runs, import_file
from kswatch.db.interchange.ingest import ImportResult
from kswatch.db.maintenance.stats_and_prune import faults as damage
from kswatch.db.queries.compiled_code import ResourceRow
from kswatch.db.records import CanaryRecord, CounterReading, PredictionRecord
from kswatch.db.schema.tables import Measurement, Run
from kswatch.db.store import Store
from kswatch.errors import FormatError, KswatchError
from tests.db.sample_records import GPU, measured, night, problem
from tests.robustness.fuzz.cases import SECONDS, SEED, cases_for, faults_of, some_cases, within_memory
from tests.robustness.fuzz.mutations import deep, mutated

ENERGY = """pattern,batch-size,algo,bs_position,precision,device_name,median,nruns,ecs
"[[1, 48, 48, 2]]",25088,kernel,bs_last,fp32,Tesla_V100-PCIE-16GB,6012.5,512.0,
"[[1, 48, 48, 2]]",25088,monarch,bs_last,fp32,Tesla_V100-PCIE-16GB,5701.0,256.0,
"[[6, 64, 64, 1]]",25088,kernel,bs_first,fp16,Tesla_V100-PCIE-16GB,42.5,512.0,
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, empty_file: Path) -> dict[str, list[str]]:
    """The lines of whole files, one of each form."""
    folder = tmp_path_factory.mktemp("files")
    store = Store.open(f"sqlite:///{folder / 'kswatch.db'}")
    night(store, {"fused": 1.0, "bmm": 2.0})
    run_id = night(store, {"fused": 1.5}, problem(d=2), device=GPU)
    readings = (CounterReading("dram", 2.5, "byte"), CounterReading("pipe", None, None, "not permitted"))
    rich = {"samples_ms": (1.9, 2.0, 2.1), "flags": ("bimodal", "drifting"), "counters": readings}
    store.record_problem(run_id, [measured(problem(d=4), "fused", 2.0, code_hash="c0de", **rich)])
    store.record_canaries(run_id, [CanaryRecord("start", "gemm", "fp32", 1.0, 1e12)])
    store.record_predictions(run_id, [PredictionRecord(problem(d=4), "rule", 1, True, 1.5)])
    record_resources(
        store, [ResourceRow("c0de", "fp32", "sm_90", "cuda_cores", None, 40, 0, None, {"FFMA": 7})]
    )
    log(store, run_id, [("warning", "it is warm")])
    add_run_event(store, run_id, "note", "me", "a note")
    found = {"energy": ENERGY.splitlines()}
    for form in ("jsonl", "csv"):
        export_runs(store, folder / f"all.{form}", form)
        found[form] = (folder / f"all.{form}").read_text(encoding="utf-8").splitlines()
    store.close()
    return found


def rows(store: Store) -> tuple[int, int]:
    """The numbers of runs and measurements."""
    with store.session() as session:
        count = [session.scalar(select(func.count()).select_from(table)) or 0 for table in (Run, Measurement)]
    return count[0], count[1]


def imported(store: Store, path: Path) -> ImportResult | None:
    """The result of an import, None where the file was refused; what it must not do fails the test."""
    before = rows(store)
    try:
        result = import_file(store, path)
    except KswatchError as error:
        assert isinstance(error, FormatError), f"{error!r:.400}"
        assert rows(store) == before and "\n" not in str(error), f"{error!r:.400}"
        return None
    with store.session() as session:
        unfinished = session.scalar(select(func.count()).select_from(Run).where(Run.by_status.is_(None)))
    assert unfinished == 0
    if ".energy" not in path.suffixes:  # there a row may be several measurements
        assert rows(store)[1] - before[1] == result.recorded + result.implausible
    return result


def fault_of(store: Store, files: dict[str, list[str]], folder: Path, randomness: random.Random) -> str:
    """What the import of a mutated file did that it must not; a second one records nothing."""
    form = randomness.choice(("jsonl", "jsonl", "csv", "energy"))
    content, suffix = mutated(files[form], randomness)
    path = folder / f"mutated.{form}{suffix}"
    path.write_bytes(content)
    try:
        again = imported(store, path) and imported(store, path)
    except Exception as error:
        return f"{error!r:.600} by {content!r:.3000}"
    return f"recorded twice: {content!r:.3000}" if again and again.recorded + again.implausible else ""


def test_a_mutated_file_records_whole_runs_or_nothing(
    store: Store, files: dict[str, list[str]], tmp_path: Path
) -> None:
    fault = partial(fault_of, store, files, tmp_path)
    with within_memory(60):
        assert faults_of(some_cases(80), fault) == ""


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS + 300)
def test_mutated_files_record_whole_runs_or_nothing_for_minutes(
    store: Store,
    files: dict[str, list[str]],
    tmp_path: Path,
    backend: str,
    record_property: Callable[[str, object], None],
) -> None:
    fault = partial(fault_of, store, files, tmp_path)

    def count(number: int) -> None:
        record_property("figure", f"fuzzed imports, {backend}: {number:,} files of seed {SEED}")

    with within_memory(100):
        assert faults_of(cases_for(SECONDS / 2), fault, count) == ""
    assert damage(store) == []


HOSTILE = (
    '"' + "x" * 5_000 + '"',
    "9" * 310,
    r'"\u0000"',
    r'"\ud800"',
    deep(),
    deep(100_000),
    '{"a": 1}',
    "NaN",
)


def test_hostile_lines_are_rejected_and_their_run_recorded(
    store: Store, files: dict[str, list[str]], tmp_path: Path
) -> None:
    run, first, *others = files["jsonl"]
    fields = ("implementation", "latency_ms", "reason", "code_hash")
    hostile = [
        json.dumps(json.loads(first) | {field: "here"}).replace('"here"', value)
        for field in fields
        for value in HOSTILE
    ]
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join([run, *hostile, first, *others]))
    result = imported(store, path)
    assert result is not None
    assert [rejection.line for rejection in result.rejections] == list(range(2, len(hostile) + 2))
    assert (result.recorded, len(result.run_ids)) == (len(others), 2)


CHILD = """
import re, sys
from pathlib import Path
from kswatch.db.interchange.importing import import_file
from kswatch.db.store import Store
from kswatch.errors import FormatError

store = Store.open("sqlite:///" + sys.argv[1])
try:
    print(import_file(store, Path(sys.argv[2])).read)
except FormatError as error:
    print(error, file=sys.stderr)
    print(0)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
"""Linux's own figure: `getrusage` begins with that of the process that started this one."""


def usage_of_import(path: Path) -> tuple[int, float]:
    """Rows that a process of its own read, and its largest resident memory in MB."""
    arguments = [sys.executable, "-c", CHILD, str(path.with_name("memory.db")), str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=1_500, check=True)
    read, kilobytes = done.stdout.split()
    return int(read), int(kilobytes) / 1024


def lines_of(kind: str, line: str) -> Iterator[bytes]:
    """Lines of 8 kB: measurements of a cell each, with a thousand samples, or no JSON."""
    values = json.loads(line) | {"samples_ms": [1.000125 + number / 1_000 for number in range(1_000)]}
    for number in itertools.count(1):
        if kind == "rejected":
            yield b"{" + b"x" * 8_000 + b"}\n"
        else:
            values["problem"] |= {"batch": number}
            yield json.dumps(values).encode() + b"\n"


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize(("kind", "packed"), [("cells", False), ("rejected", False), ("cells", True)])
def test_a_gigabyte_of_lines_takes_less_than_300_megabytes(
    files: dict[str, list[str]],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    kind: str,
    packed: bool,
) -> None:
    path = tmp_path / ("large.jsonl.gz" if packed else "large.jsonl")
    size = 600 * 2**20 if packed else 2**30
    with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
        written = file.write(files["jsonl"][0].encode() + b"\n")
        for line in lines_of(kind, files["jsonl"][1]):
            written += file.write(line)
            if written > size:
                break
    read, megabytes = usage_of_import(path)
    record_property("figure", f"import of {written / 1e6:.0f} MB ({kind}): {read:,} rows, {megabytes:.0f} MB")
    assert read > size // 15_000 and megabytes < 300


def test_the_memory_of_an_import_does_not_grow_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "one line.jsonl"
    with path.open("wb") as file:
        file.writelines([b'{"type": "run"'] + [b" " * 2**20] * 80)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store = Store.open(f"sqlite:///{tmp_path / 'kswatch.db'}")
    with pytest.raises(FormatError, match="longer than 64 MiB"):
        import_file(store, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024

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
from pathlib import Path

import pytest
from sqlalchemy import func, select

from kswatch.db.interchange.importing import export_runs, import_file
from kswatch.db.interchange.ingest import ImportResult
from kswatch.db.records import CanaryRecord
from kswatch.db.schema.tables import Measurement, Run
from kswatch.db.store import Store
from kswatch.errors import FormatError, KswatchError
from tests.db.sample_records import GPU, measured, night, problem
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
    store.record_problem(run_id, [measured(problem(d=4), "fused", 2.0, samples_ms=(1.9, 2.0, 2.1))])
    store.record_canaries(run_id, [CanaryRecord("start", "gemm", "fp32", 1.0, 1e12)])
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
    except FormatError as error:
        assert rows(store) == before and "\n" not in str(error), path.read_bytes()
        return None
    except KswatchError as error:
        assert "\n" not in str(error)
        return None
    except Exception as error:
        raise AssertionError(f"{error!r:.400} by {path.read_bytes()!r:.3000}") from error
    with store.session() as session:
        assert session.scalar(select(func.count()).select_from(Run).where(Run.by_status.is_(None))) == 0
    if ".energy" not in path.suffixes:  # there a row may be several measurements
        assert rows(store)[1] - before[1] == result.recorded + result.implausible, path.read_bytes()
    return result


def fuzz(store: Store, files: dict[str, list[str]], folder: Path, seed: int, number: int) -> list[str]:
    """Import mutated files; gives those of which a second import recorded something."""
    randomness, again = random.Random(seed), []
    for at in range(number):
        form = randomness.choice(("jsonl", "jsonl", "csv", "energy"))
        content, suffix = mutated(files[form], randomness)
        path = folder / f"{at}.{form}{suffix}"
        path.write_bytes(content)
        if imported(store, path) is not None:
            second = imported(store, path)
            again += [] if second and second.recorded + second.implausible == 0 else [repr(content)[:2000]]
        path.unlink()
    return again


def test_a_mutated_file_records_whole_runs_or_nothing(
    store: Store, files: dict[str, list[str]], tmp_path: Path
) -> None:
    assert fuzz(store, files, tmp_path, seed=1, number=80) == []


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_mutated_files_record_whole_runs_or_nothing(
    store: Store, files: dict[str, list[str]], tmp_path: Path, seed: int
) -> None:
    assert fuzz(store, files, tmp_path, seed, number=1_000) == []


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

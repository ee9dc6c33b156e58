from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from kswatch.db.interchange import flat_csv, ingest
from kswatch.db.interchange.importing import export_runs, import_file
from kswatch.db.interchange.ingest import MOST_REJECTIONS
from kswatch.db.queries import basic as queries
from kswatch.errors import FormatError, StoreError, UsageError
from tests.db.sample_records import night

ENERGY = "pattern,batch-size,algo,bs_position,precision,device_name,median,nruns\n"
ROW = '"[[1, 48, 48, 2]]",25088,kernel,bs_last,fp32,G\u00e9ant,6012.5,512\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; export or download it again"),
        (b" \n\n", "is empty"),
        ((ENERGY + ROW).encode("utf-16"), "is UTF-16, not UTF-8; save it as UTF-8"),
        ((ENERGY + ROW).encode("latin-1"), "is not UTF-8 .line 2, byte 0xe9.; if it is Latin-1"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is not UTF-8 .line 1, byte 0x89."),
        (ENERGY.replace("median,", "").encode(), "lacks column median of the energy form; add it"),
        (b"a,b,c,d,kernel_s\n1,2,3,4,5\n", "lacks column bmm_s of the sample form"),
        (
            b"name,age\nme,7\n",
            "is not in a format that kswatch reads; columns of the known formats are energy: ",
        ),
        (b"1,48,48,2\n1,48,48,3\n", "is not in a format that kswatch reads"),
        (b'{"hello": 1}\n', "is not an export of kswatch .line 1: has no .type."),
        (b"{broken\n", "is not an export of kswatch .line 1: is not JSON"),
        (b'{"type": "measurement", "run": "x"}\n', "line 1: its run x is not the one that was read last"),
    ],
)
def test_an_unreadable_file_is_an_error_of_one_sentence(sqlite_store, tmp_path, content, message):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as raised:
        import_file(sqlite_store, path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert queries.runs(sqlite_store) == []


def test_a_missing_file_or_a_folder_is_named_in_the_error(sqlite_store, tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(FormatError, match="cannot be read"):
            import_file(sqlite_store, path)


def test_a_device_is_refused_since_it_may_never_end(sqlite_store):
    for path in (Path("/dev/full"), Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(FormatError, match="is a device; name a file or a pipe"):
            import_file(sqlite_store, path)


def test_of_very_many_broken_lines_the_first_are_kept_and_all_counted(exported, tmp_path, new_store):
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join([*exported, *["{}"] * (MOST_REJECTIONS + 5)]))
    result = import_file(new_store(), path)
    assert (result.recorded, result.rejected) == (2, MOST_REJECTIONS + 5)
    assert [one.line for one in result.rejections] == list(range(4, MOST_REJECTIONS + 4))


def test_cells_beyond_the_limit_of_a_run_are_rejected(exported, tmp_path, new_store, monkeypatch):
    monkeypatch.setattr(ingest, "MOST_CELLS", 1)
    path = tmp_path / "large.jsonl"
    path.write_text("\n".join([*exported, exported[1]]))
    result = import_file(new_store(), path)
    assert (result.recorded, result.duplicates, result.rejected) == (1, 1, 1)
    assert result.rejections[0].reason == "its run has more than 1 cells; import it as several runs"


def test_published_rows_beyond_the_limit_are_rejected(sqlite_store, tmp_path, monkeypatch):
    monkeypatch.setattr(flat_csv, "MOST_CELLS", 1)
    path = tmp_path / "energy.csv"
    path.write_text(ENERGY + ROW + ROW.replace("48, 2", "48, 3"))
    result = import_file(sqlite_store, path)
    assert (result.recorded, [one.line for one in result.rejections]) == (1, [3])


def test_a_broken_archive_is_named_in_the_error(sqlite_store, tmp_path):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(b"a,b,c,d\n" * 1000)[:40])
    with pytest.raises(FormatError, match="cannot be read"):
        import_file(sqlite_store, path)


@pytest.fixture
def exported(sqlite_store, tmp_path) -> list[str]:
    night(sqlite_store, {"fused": 1.0, "bmm": 2.0})
    path = tmp_path / "run.jsonl"
    export_runs(sqlite_store, path, "jsonl")
    return path.read_text().splitlines()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latency_ms": -1.0}, "latency_ms is -1.0, not above 0"),
        ({"latency_ms": "fast"}, "latency_ms is 'fast', not a number"),
        ({"latency_ms": 1e40}, "latency_ms is 1e+40, not a plausible number"),
        ({"sample_count": 2**40}, "sample_count is 1099511627776, too large"),
        ({"sample_count": 1.5}, "sample_count is 1.5, not an integer"),
        ({"status": "great"}, "status is 'great', not one of ok, "),
        ({"implementation": "magic"}, "implementation 'magic' is not one of fused, "),
        ({"beauty": 3}, "unknown field 'beauty'"),
        ({"flags": "bimodal"}, "flags is 'bimodal', not a list"),
        ({"samples_ms": [1.0, -2.0]}, "a sample is -2.0 ms"),
        ({"problem": {"a": 1}}, "b is missing"),
        ({"problem": 7}, "problem is 7, not an object"),
        ({"run": "another"}, "its run another is not the one that was read last"),
        ({"type": "dream"}, 'has no "type" run or measurement'),
    ],
)
def test_a_broken_line_of_an_export_is_rejected(exported, tmp_path, new_store, change, message):
    run, first, second = exported
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join([run, json.dumps(json.loads(first) | change), second]))
    result = import_file(new_store(), path)
    assert (result.read, result.recorded, result.rejected) == (2, 1, 1)
    assert (result.rejections[0].line, message in result.rejections[0].reason) == (2, True)


def test_measurements_of_a_run_that_cannot_be_read_are_rejected_with_it(exported, tmp_path, new_store):
    night_of_another = json.loads(exported[0]) | {"identity": "other", "record": {}}
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join([*exported, json.dumps(night_of_another), exported[1]]))
    result = import_file(new_store(), path)
    assert (result.recorded, [rejection.line for rejection in result.rejections]) == (2, [4, 5])


def test_an_export_appears_complete_or_not_at_all(sqlite_store, tmp_path):
    night(sqlite_store, {"fused": 1.0})
    with pytest.raises(UsageError, match="there is no run 9"):
        export_runs(sqlite_store, tmp_path / "run.jsonl", "jsonl", [9])
    with pytest.raises(StoreError, match="cannot be written"):
        export_runs(sqlite_store, tmp_path / "none" / "run.jsonl", "jsonl")
    assert [path for path in tmp_path.iterdir() if "run" in path.name] == []

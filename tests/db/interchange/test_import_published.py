from __future__ import annotations

import math
import os
import statistics
from operator import itemgetter
from pathlib import Path

import pytest
from sqlalchemy import select

from kswatch.db.interchange.importing import import_file
from kswatch.db.interchange.ingest import ImportResult
from kswatch.db.queries import basic as queries
from kswatch.db.queries.cells import samples_of_run
from kswatch.db.records import ProblemKey
from kswatch.db.schema.tables import Counter
from kswatch.db.store import Store
from tests.cpu_time import least_cpu_s

REFERENCE = os.environ.get("KSWATCH_REFERENCE")
needs_reference = pytest.mark.skipif(
    not REFERENCE, reason="KSWATCH_REFERENCE names no folder of published data"
)

ENERGY = "pattern,batch-size,algo,bs_position,precision,device_name,median,nruns,ecs"
TIME = "patterns,batch-size,algo,mean,median,iqr,times,bs_position,precision,device_name"
GOOD_ENERGY = '"[[1, 48, 48, 2]]",25088,kernel,bs_last,fp32,Tesla_V100-PCIE-16GB,6012.5,512.0,'
OTHER_ENERGY = '"[[1, 48, 48, 2]]",25088,monarch,bs_last,fp32,Tesla_V100-PCIE-16GB,5701.0,256.0,'


@pytest.fixture
def write(tmp_path):
    def written(*lines: str, encoding: str = "utf-8", name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return path

    return written


def counts(result) -> tuple[int, int, int, int, int]:
    return (result.read, result.recorded, result.implausible, result.rejected, result.duplicates)


def measurements(store: Store, run_id: int = 1):
    return queries.measurements(store, run_id)


@needs_reference
def test_published_energies_are_recorded_once_and_implausible_ones_marked(store):
    path = Path(REFERENCE) / "ksmm_energy_v100.csv"
    results: list[ImportResult] = []
    assert least_cpu_s(lambda: results.append(import_file(store, path)), repeats=1) < 5
    assert counts(results[0]) == (14823, 14817, 6, 0, 0)
    assert counts(import_file(store, path)) == (14823, 0, 0, 0, 14823)
    impossible = [row for row in measurements(store) if row.status == "implausible"]
    assert {(row.implementation, row.precision) for row in impossible} == {("fused", "fp16")}
    assert all("a failed launch" in row.reason and row.energy_mj for row in impossible)
    assert len(queries.runs(store)) == 1


@needs_reference
def test_the_published_time_sample_is_recorded_once(sqlite_store):
    path = Path(REFERENCE) / "ksmm_time_a100_sample.csv"
    assert counts(import_file(sqlite_store, path)) == (133, 133, 0, 0, 0)
    assert counts(import_file(sqlite_store, path)) == (133, 0, 0, 0, 133)
    first = measurements(sqlite_store)[0]
    assert (first.batch, first.precision, first.layout) == (25088, "fp32", "batch_last")
    assert queries.find_device(sqlite_store, "nvidia a100-pcie-40gb").newest_run_id == 1


def test_energy_is_that_of_one_product(sqlite_store, write):
    import_file(sqlite_store, write(ENERGY, GOOD_ENERGY))
    (row,) = measurements(sqlite_store)
    assert (row.implementation, row.layout, row.mode) == ("fused", "batch_last", "unknown")
    assert (row.energy_mj, row.energy_products, row.latency_ms) == (6012.5 / 512, 512, None)
    (run,) = queries.runs(sqlite_store)
    assert (run.kind, run.origin, run.device_model) == ("import", "imported", "Tesla V100-PCIE-16GB")


def test_times_are_in_milliseconds_with_their_samples(sqlite_store, write):
    row = '"[[2, 48, 192, 1]]",1024,einsum,0.0031,0.003,0.001,"[0.002, 0.003, 0.004]",bs_first,fp16,My_GPU'
    assert counts(import_file(sqlite_store, write(TIME, row, encoding="utf-8-sig"))) == (1, 1, 0, 0, 0)
    (found,) = measurements(sqlite_store)
    assert (found.latency_ms, found.sample_count) == (3.0, 3)
    assert (found.latency_p25_ms, found.latency_p75_ms) == (2.5, 3.5)
    assert list(samples_of_run(sqlite_store, 1, [found.cell_id])[found.cell_id, "unknown"]) == [2.0, 3.0, 4.0]


def test_a_single_sample_has_no_quartiles(sqlite_store, write):
    row = '"[[2, 48, 192, 1]]",1024,dense,0.03,0.03,0.0,[0.03],bs_first,fp32,My_GPU'
    import_file(sqlite_store, write(TIME.replace("patterns", "pattern"), row))
    (found,) = measurements(sqlite_store)
    assert (found.sample_count, found.latency_p25_ms, found.latency_low_ms) == (1, None, None)


def test_a_latency_beyond_any_memorys_bandwidth_is_implausible(sqlite_store, write):
    row = '"[[1, 768, 768, 64]]",25088,kernel,4e-6,4e-6,0,[4e-6],bs_last,fp16,My_GPU'
    assert counts(import_file(sqlite_store, write(TIME, row))) == (1, 0, 1, 0, 0)
    assert "TB/s of compulsory bytes" in measurements(sqlite_store)[0].reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (GOOD_ENERGY.replace("6012.5", "nan"), "median is nan, not a number"),
        (GOOD_ENERGY.replace("6012.5", "-3"), "median '-3' is not above 0"),
        (GOOD_ENERGY.replace("6012.5", "inf"), "median is inf, not a number"),
        (GOOD_ENERGY.replace("6012.5", "fast"), "median 'fast' is not a number"),
        (GOOD_ENERGY.replace("6012.5", ""), "median '' is not a number"),
        (GOOD_ENERGY.replace("512.0", "0"), "nruns '0' is not an integer >= 1"),
        (GOOD_ENERGY.replace("25088", "0"), "batch-size '0' is not an integer >= 1"),
        (GOOD_ENERGY.replace("25088", "1.5"), "batch-size '1.5' is not an integer >= 1"),
        (GOOD_ENERGY.replace("kernel", "magic"), "algo 'magic' is not one of kernel, "),
        (GOOD_ENERGY.replace("bs_last", "sideways"), "bs_position 'sideways' is neither"),
        (GOOD_ENERGY.replace("fp32", "fp12"), "precision 'fp12' is not one of fp32, "),
        (GOOD_ENERGY.replace("48, 2]]", "48]]"), "pattern '[[1, 48, 48]]' is not one pattern"),
        (GOOD_ENERGY.replace("]]", "], [1, 2, 3, 4]]"), "is not one pattern"),
        (GOOD_ENERGY.replace("[[1,", "[[-1,"), "pattern '-1' is not an integer >= 1"),
        (GOOD_ENERGY.replace("Tesla_V100-PCIE-16GB", " "), "device_name is empty"),
        (GOOD_ENERGY + ",,,", "has 12 fields, the header 9"),
        (GOOD_ENERGY.replace(']]",', "]],"), "is not CSV"),
        ("just some words", "has 1 fields, the header 9"),
    ],
)
def test_a_broken_row_is_rejected_with_its_line_and_the_others_are_recorded(sqlite_store, write, row, reason):
    result = import_file(sqlite_store, write(ENERGY, GOOD_ENERGY, "", row, OTHER_ENERGY))
    assert counts(result) == (3, 2, 0, 1, 0)
    assert result.rejections[0].line == 4
    assert reason in result.rejections[0].reason


def test_a_corrected_file_records_only_the_broken_rows(sqlite_store, write):
    import_file(sqlite_store, write(ENERGY, GOOD_ENERGY, OTHER_ENERGY.replace("5701.0", "??")))
    assert counts(import_file(sqlite_store, write(ENERGY, GOOD_ENERGY, OTHER_ENERGY))) == (2, 1, 0, 0, 1)


def test_a_repeated_row_is_a_duplicate_and_a_conflicting_one_is_rejected(sqlite_store, write):
    again = GOOD_ENERGY.replace("6012.5", "7000.5")
    result = import_file(sqlite_store, write(ENERGY, GOOD_ENERGY, GOOD_ENERGY, again))
    assert counts(result) == (3, 1, 0, 1, 1)
    assert result.rejections[0].reason == "line 2 gives the same cell another value; keep one of them"


def test_another_measurement_of_a_cell_from_another_file_is_a_newer_run(sqlite_store, write):
    import_file(sqlite_store, write(ENERGY, GOOD_ENERGY))
    import_file(sqlite_store, write(ENERGY, GOOD_ENERGY.replace("6012.5", "7000.5")))
    assert len(queries.runs(sqlite_store)) == 2


def test_each_device_of_a_file_is_a_run_of_its_own(sqlite_store, write):
    import_file(sqlite_store, write(ENERGY, GOOD_ENERGY, OTHER_ENERGY.replace("Tesla_V100", "Other_V100")))
    models = {run.device_model for run in queries.runs(sqlite_store)}
    assert models == {"Tesla V100-PCIE-16GB", "Other V100-PCIE-16GB"}


GPT2 = ProblemKey(1, 1, 196, 1, 128, "fp32", "batch_first", "gpt2_medium eager")
HEADER = (
    "model,number_parameters,device_name,down-pattern1,down-pattern2,batch-size,seq-length,precision,algo"
)
HEADER += ",mean,median,iqr"
DENSE = "gpt2-medium,354823168,NVIDIA_X,,,128,196,fp32,dense,0.76,0.77,0.01"
KERNEL = 'gpt2-medium,1,NVIDIA_X,"[1, 64, 64, 16]","[16, 64, 256, 1]",128,196,fp32,kernel,0.5,0.6,0.01'


@needs_reference
def test_published_times_of_gpt2_medium_are_recorded_exactly(store):
    """The truth: each chain replaces 24 dense weights of 4096 x 1024."""
    path = Path(REFERENCE) / "gpt2_medium_e2e.csv"
    assert counts(import_file(store, path)) == (21, 21, 0, 0, 0)
    assert counts(import_file(store, path)) == (21, 0, 0, 0, 21)
    (run,) = queries.runs(store)
    assert (run.origin, run.suite, run.device_model) == (
        "imported",
        "published",
        "NVIDIA RTX 6000 Ada Generation",
    )
    rows = measurements(store)
    assert {(*row[3:10], row.subject) for row in rows} == {tuple(vars(GPT2).values())}
    found = {row.implementation: (row.parameters, means_ms(store, run.id)[row.cell_id]) for row in rows}
    parameters, dense_ms = found.pop("dense/published")
    assert (parameters, dense_ms) == (354_823_168, pytest.approx(767.51, abs=0.005))
    kernels = {name.removesuffix("/fused"): one for name, one in found.items() if name.endswith("/fused")}
    assert len(kernels) == 10
    for structure, (parameters, _) in kernels.items():
        chain = structure.removeprefix("ks ").split(";")
        weights = sum(math.prod(map(int, pattern.split(","))) for pattern in chain)
        assert parameters == found[f"{structure}/bmm"][0] == 354_823_168 - 24 * (4_194_304 - weights)
    shares = {structure: mean_ms / dense_ms for structure, (_, mean_ms) in kernels.items()}
    assert shares["ks 64,64,64,1;1,64,256,16"] == pytest.approx(0.8416, abs=5e-5)
    assert min(shares.items(), key=itemgetter(1)) == (
        "ks 16,64,256,1;1,64,64,16",
        pytest.approx(0.7666, abs=5e-5),
    )
    assert max(shares.items(), key=itemgetter(1)) == (
        "ks 8,512,512,1;1,64,256,16",
        pytest.approx(1.0294, abs=5e-5),
    )
    over_bmm = [mean_ms / found[f"{structure}/bmm"][1] for structure, (_, mean_ms) in kernels.items()]
    assert (sum(ratio < 1 for ratio in over_bmm), statistics.median(over_bmm)) == (
        5,
        pytest.approx(0.998, abs=5e-4),
    )


def means_ms(store: Store, run_id: int) -> dict[int, float]:
    query = select(Counter.cell_id, Counter.value).where(Counter.run_id == run_id, Counter.name == "mean_ms")
    return dict(store.read(query, lambda cell_id, value: (cell_id, value)))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (KERNEL.replace("[1, 64, 64, 16]", "[1, 64, 64]"), "is not a pattern"),
        (KERNEL.replace('"[1, 64, 64, 16]"', ""), "is not a pattern"),
        (KERNEL.replace("kernel", "dense"), "algo dense with some patterns"),
        (DENSE.replace("dense", "bmm"), "algo bmm with no patterns"),
        (DENSE.replace("fp32", "fp12"), "precision 'fp12'"),
        (DENSE.replace("gpt2-medium", "gpt 2"), "is not a name"),
        (DENSE.replace("0.77", "0"), "median '0' is not above 0"),
        (DENSE.replace("dense", "other"), "algo 'other'"),
    ],
)
def test_a_faulty_row_of_a_model_is_rejected_with_its_reason(sqlite_store, write, row, reason):
    tally = import_file(sqlite_store, write(HEADER, DENSE, row))
    assert counts(tally) == (2, 1, 0, 1, 0)
    assert reason in tally.rejections[0].reason


def test_both_places_of_a_model_are_named_right_most_factor_first(sqlite_store, write):
    header = HEADER.replace("down-pattern1", "up-pattern1,up-pattern2,down-pattern1")
    row = KERNEL.replace('"[1, 64, 64, 16]"', '"[1, 256, 64, 16]","[16, 64, 64, 1]","[1, 64, 64, 16]"', 1)
    import_file(sqlite_store, write(header, row))
    (found,) = measurements(sqlite_store)
    assert found.implementation == "ks 16,64,64,1;1,256,64,16 16,64,256,1;1,64,64,16/fused"

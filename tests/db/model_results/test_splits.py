"""A model's gain as structure times kernel, from rows of the store."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kswatch.db.interchange.importing import import_file
from kswatch.db.model_results.reads import model_nights, newest_layers, newest_models
from kswatch.db.model_results.splits import members_of
from kswatch.db.model_results.summary import model_summary, models_in_words
from kswatch.db.queries import basic as queries
from kswatch.db.records import CounterReading, ProblemKey
from kswatch.errors import UsageError
from tests.db.sample_records import NOON, import_run, measured

MODEL = ProblemKey(1, 1, 196, 1, 8, "fp32", "batch_first", "vit_s16 eager")
LAYER = ProblemKey(1, 1536, 384, 1, 196, "fp32", "batch_first", "layer")
SHARE = (CounterReading("linear_share", 0.6, None),)


def variant(name, ratio, **changes):
    """A cell whose ratio to the dense one differs from that of the medians: they drifted."""
    ends = {"ratio_to_fused": 1.0, "ratio_to_fused_low": 0.98, "ratio_to_fused_high": 1.02}
    paired = {end: factor * ratio for end, factor in ends.items()} if ratio else {}
    values = {"latency_ms": 10.0 * (ratio or 1) + 1, "parameters": 1000, **paired, **changes}
    return measured(MODEL, name, **values)


RECORDS = [
    variant("dense/fair", None, latency_ms=10.0, counters=SHARE),
    variant("dense/published", 1.25),
    variant("ks/bmm", 0.9),
    variant("ks/bmm_strided", 0.8),
    variant("ks/csr", 3.0),
    variant("ks/bsr", None, status="unsupported", reason="no", latency_ms=None),
    variant("ks/fused", 0.5),
    variant("ks/auto", 0.55),
]


def only_split(store, **options):
    (found,) = model_summary(store, **options)
    (split,) = found.splits
    return split


def test_the_product_of_structure_and_kernel_is_the_total_from_the_same_rounds(store):
    import_run(store, RECORDS)
    split = only_split(store)
    assert (split.baselines, split.baseline, split.dense) == ("all", "bmm_strided", "dense/fair")
    assert split.members == ("bmm", "bmm_strided", "bsr", "csr")
    assert split.structure_gain == pytest.approx(1 / 0.8)
    assert split.kernel_gain == pytest.approx(0.8 / 0.5)
    assert split.structure_gain * split.kernel_gain == pytest.approx(split.total_gain, rel=1e-12)
    assert split.total_gain == pytest.approx(2.0)
    assert split.over_published == pytest.approx(1.25 / 0.5)
    assert split.linear_share == 0.6
    assert split.kernel_gain_low < 1.6 < split.kernel_gain_high


def test_the_baseline_is_the_fastest_of_the_named_set(store):
    import_run(store, RECORDS)
    paper = only_split(store, baselines="paper")
    assert (paper.baseline, paper.members) == ("bmm", ("bmm", "bsr", "csr"))
    assert paper.total_gain == pytest.approx(2.0)
    with pytest.raises(UsageError, match="unknown set of baselines"):
        model_summary(store, baselines="mine")


def test_a_set_has_no_dense_and_no_rivals():
    assert members_of("paper") == ("bmm", "einsum", "bsr", "csr")
    assert members_of("expert") == members_of("all")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (variant("ks/bmm", None, status="crashed", latency_ms=None), "bmm: crashed"),
        (variant("ks/fused", None, status="incorrect", latency_ms=None), "fused: incorrect"),
    ],
)
def test_a_failed_variant_leaves_the_split_out_with_the_reason(store, changed, reason):
    others = [one for one in RECORDS if one.implementation != changed.implementation]
    import_run(store, [*others, changed])
    split = only_split(store)
    assert (split.left_out, split.total_gain) == (reason, None)
    assert reason in models_in_words(model_summary(store))


def test_a_run_without_the_dense_variant_has_no_split(store):
    import_run(store, RECORDS[2:])
    assert only_split(store).left_out == "dense: no result"


def test_every_variant_is_shown_against_dense(store):
    import_run(store, RECORDS, origin="simulated")
    (found,) = model_summary(store)
    assert (found.model, found.execution, found.batch, found.origin) == ("vit_s16", "eager", 8, "simulated")
    shown = {one.variant: one.over_dense for one in found.variants}
    assert shown["dense/fair"] == 1.0 and shown["ks/auto"] == 0.55 and shown["ks/bsr"] is None
    text = models_in_words([found])
    assert "2.000x = structure 1.250x (dense/fair over bmm_strided, the fastest of all" in text
    assert "simulated, run 1" in text and "60% of the dense model's time" in text


def test_a_change_of_the_baseline_or_the_set_begins_a_new_series(store):
    """Night 3 has another fastest baseline, night 4 one member less."""
    other = [replace(one, ratio_to_fused=0.7) if one.implementation == "ks/bmm" else one for one in RECORDS]
    fewer = [one for one in other if one.implementation != "ks/csr"]
    for night, records in enumerate((RECORDS, RECORDS, other, fewer)):
        import_run(store, records, started_at=NOON + timedelta(days=night))
    (device,) = queries.devices(store)
    points = model_nights(store, device.id, MODEL, "ks")
    assert [one.begins_series for one in points] == [False, False, True, True]
    assert [one.split.baseline for one in points] == ["bmm_strided", "bmm_strided", "bmm", "bmm"]


def test_the_newest_run_of_each_model_and_layer_is_read(store):
    layer = [
        measured(LAYER, "dense/linear", 4.0),
        measured(LAYER, "low_rank 24/fused", 1.0, ratio_to_fused=0.25),
    ]
    import_run(store, [*RECORDS, *layer])
    import_run(store, RECORDS, started_at=NOON + timedelta(days=1))
    (device,) = queries.devices(store)
    (model,), (found,) = newest_models(store, device.id), newest_layers(store, device.id)
    assert (model.run_id, found.run_id) == (2, 1)
    assert [(one.structure, one.computed_by) for one in found.cells.values()] == [
        ("dense", "linear"),
        ("low_rank 24", "fused"),
    ]
    assert newest_layers(store, device.id, sides=(384, 1536), batch=196)
    assert not newest_layers(store, device.id, sides=(1536, 384))
    assert not newest_models(store, device.id, model="vit")
    assert newest_models(store, device.id, run_id=1)[0].run_id == 1


def test_a_device_without_models_is_named_in_one_sentence(store):
    import_run(store, [measured(replace(LAYER, subject=""), "fused", 1.0)])
    assert "kswatch profile models" in models_in_words(model_summary(store))


@pytest.mark.skipif("KSWATCH_REFERENCE" not in os.environ, reason="KSWATCH_REFERENCE names no folder")
def test_the_published_models_are_summarised_as_their_authors_did(sqlite_store):
    import_file(sqlite_store, Path(os.environ["KSWATCH_REFERENCE"]) / "gpt2_medium_e2e.csv")
    (found,) = model_summary(sqlite_store)
    assert (found.origin, len(found.splits), len(found.variants)) == ("imported", 10, 21)
    shares = {one.structure: 1 / one.total_gain for one in found.splits}
    assert shares["ks 64,64,64,1;1,64,256,16"] == pytest.approx(0.8416, abs=5e-5)
    assert (min(shares.values()), max(shares.values())) == pytest.approx((0.7666, 1.0294), abs=5e-5)
    assert sum(one.kernel_gain > 1 for one in found.splits) == 5
    assert {one.dense for one in found.splits} == {"dense/published"}

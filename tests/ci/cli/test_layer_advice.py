"""`kswatch advise --layer` as it is typed, on a store of measured layers with known rates."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from kswatch.ci.cli.heuristics import app
from kswatch.db.records import LAYER, EnvironmentRecord, MeasurementRecord, ProblemKey, RunRecord
from kswatch.errors import UsageError
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import structures
from tests.ci.cli.advice_stores import GPU
from tests.kswatch.sample_services import sample_services

SIDES = ((256, 256), (256, 512), (512, 512), (512, 1024))
BATCHES = (16, 196, 1024)
WHERE = ("--batch", "196", "--precision", "fp32", "--device", GPU.model, "--json")


def milliseconds(shape: LayerShape, parameters: int, implementation: str) -> float:
    """A launch, and the operations: `bmm` takes twice as long as all others."""
    return 0.01 + parameters * shape.batch * (2e-8 if implementation == "bmm" else 1e-8)


def record_layers(store) -> None:
    """A finished run of the layers by `linear`, `fused` and `bmm`, with an energy of 100 mJ a ms."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    run_id = store.begin_run(RunRecord("layers", GPU, EnvironmentRecord(), None, "nightly", "measured", at))
    for sides in SIDES:
        for batch in BATCHES:
            shape, rows = LayerShape(*sides, batch), []
            key = ProblemKey(1, sides[1], sides[0], 1, batch, "fp32", "batch_first", LAYER)
            for structure in structures(*sides, (1 / 16, 1 / 4)):
                for name in {"linear", "fused", "bmm"} & set(structure.family.implementations):
                    if structure.family_name != "stl":
                        ms = milliseconds(shape, structure.parameters(*sides), name)
                        cell = MeasurementRecord(key, f"{structure}/{name}", "ok", latency_ms=ms)
                        rows.append(replace(cell, energy_mj=100 * ms))
            store.record_problem(run_id, rows)
    store.finish_run(run_id, "finished", 1.0, 0.1)


@pytest.fixture
def ranked(store):
    """Runs the command on the store and reads its document."""
    record_layers(store)

    def command(layer: str, *arguments: str) -> dict:
        found = CliRunner().invoke(
            app, ["advise", "--layer", layer, *arguments], obj=sample_services(str(store.engine.url))
        )
        if found.exception and not isinstance(found.exception, SystemExit):
            raise found.exception
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout) if "--json" in arguments else {"text": found.stdout}

    return command


def test_a_measured_layer_is_ranked_by_what_was_measured(ranked):
    found = ranked("512,1024", *WHERE)
    dense = milliseconds(LayerShape(512, 1024, 196), 512 * 1024, "linear")
    assert found["dense_latency_ms"] == pytest.approx(dense)
    measured = [one for one in found["cells"] if one["latency_source"] == "measured"]
    assert measured == sorted(measured, key=lambda one: one["latency_ms"])
    for one in measured:
        ms = milliseconds(LayerShape(512, 1024, 196), one["parameters"], one["implementation"])
        assert one["latency_ms"] == pytest.approx(ms)
        assert one["saved_ms"] == pytest.approx(dense - ms)
        assert one["saved_mj"] == pytest.approx(100 * (dense - ms))
    assert {one["family"] for one in measured} >= {"dense", "ks", "low_rank", "monarch", "blast", "btt"}


def test_a_layer_between_the_measured_ones_is_predicted_from_them(ranked):
    found = ranked("384,768", *WHERE)
    known = [one for one in found["cells"] if one["implementation"] in ("fused", "bmm", "linear")]
    assert {one["latency_source"] for one in known if one["family"] == "stl"} == {"no data"}
    predicted = [one for one in known if one["family"] != "stl"]
    assert {one["latency_source"] for one in predicted} == {"predicted"}
    for one in predicted:
        if one["family"] in ("dense", "low_rank"):
            ms = milliseconds(LayerShape(384, 768, 196), one["parameters"], one["implementation"])
            assert one["latency_ms"] == pytest.approx(ms, rel=0.25)


def test_a_layer_that_nothing_is_known_of_has_no_data_and_claims_no_gain(ranked):
    found = ranked("256,256", *WHERE, "--layout", "batch_last")
    assert {one["latency_source"] for one in found["cells"]} == {"no data"}
    assert {one["saved_ms"] for one in found["cells"]} == {None}


def test_a_further_structure_of_a_layer_is_ranked_on_request(ranked):
    found = ranked("256,256", *WHERE, "--structure", "low_rank 24")
    assert "low_rank 24" in {one["structure"] for one in found["cells"]}
    with pytest.raises(UsageError, match="multiple of r = 7"):
        ranked("256,256", *WHERE, "--structure", "monarch 8,7")


def test_the_text_of_a_layers_ranking_has_the_fastest_first_and_the_reasons_last(ranked):
    text = ranked("256,512", *WHERE[:-1])["text"]
    lines = text.splitlines()
    assert lines[0].startswith("256 -> 512 batch 196 fp32 batch_first on NVIDIA")
    times = [float(line.split()[-5]) for line in lines[2:5]]
    assert times == sorted(times)
    assert "butterfly: butterfly needs inputs = outputs" in text
    assert "note: families are different matrices" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer", "1024", "--batch", "4"), "IN,OUT"),
        (("--layer", "1024,0", "--batch", "4"), "IN,OUT"),
        (("--layer", "64,64"), "--batch 1024"),
        (("6,64,64,1", "--layer", "64,64", "--batch", "4"), "two questions"),
        (("--batch", "4"), "name a pattern"),
        (("--layer", "64,64", "--batch", "4", "--structure", "triangle"), "unknown family"),
    ],
)
def test_a_malformed_question_about_a_layer_is_refused_in_a_sentence(store, arguments, message):
    services = sample_services(str(store.engine.url))
    found = CliRunner().invoke(app, ["advise", *arguments, "--device", "cpu"], obj=services)
    assert isinstance(found.exception, UsageError)
    assert message in str(found.exception)


def test_ranking_a_layer_loads_no_torch(store):
    code = f"""
import sys
from kswatch.ci.advisor.layer_advice import advise_layer
from kswatch.db.store import Store
advise_layer(Store.open({str(store.engine.url)!r}), (1024, 4096), 196, "fp32", "batch_first", "cpu")
print(sorted({{"torch", "sklearn", "pandas"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_predicted_costs_of_measured_layers_are_scored_without_their_shape(store):
    record_layers(store)
    services = sample_services(str(store.engine.url))
    found = CliRunner().invoke(
        app, ["heuristics", "score", "--device", GPU.model, "--layers", "--json"], obj=services
    )
    assert found.exit_code == 0, found.output
    (row,) = json.loads(found.stdout)
    assert (row["precision"], row["layout"], row["score"]["layers"]) == ("fp32", "batch_first", 12)
    assert row["score"]["median_errors"]["low_rank/fused"] < 0.2
    assert row["score"]["regret"] < row["score"]["majority_regret"] / 10
    text = (
        CliRunner()
        .invoke(app, ["heuristics", "score", "--device", GPU.model, "--layers"], obj=services)
        .stdout
    )
    assert "faster than dense or not" in text
    nothing = CliRunner().invoke(app, ["heuristics", "score", "--device", "cpu", "--layers"], obj=services)
    assert "no latency of a layer was measured on" in str(nothing.exception)

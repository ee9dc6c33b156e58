"""Costs of layers: planted rates are found, held-out scores, rankings with and without data."""

from __future__ import annotations

import random

import pytest

from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import Structure, structures
from kswatch.kernels.heuristics.layer_costs import LayerCosts
from kswatch.kernels.layer_heuristics.parts import parts_of
from kswatch.kernels.layer_heuristics.ranking import LayerRanking, rank_layer
from kswatch.kernels.layer_heuristics.rates import LayerCell, MeasuredCell, PartRates, fit_rates
from kswatch.kernels.layer_heuristics.score import PredictedCell, held_out_by_shape, score_layers

CPU = {"kind": "cpu", "model": "cpu"}
SIDES = [(256, 256), (256, 512), (512, 512), (512, 1024), (1024, 1024)]
PLANTED = PartRates(
    {
        "linear": (0.01, 0.1, 0.1, 0, 0, 0, 0, 9.0, 0, 0, 0.2),
        "fused": (0.02, 0.1, 0.1, 0, 0, 0, 0, 4.0, 0, 0, 0.3),
        "bmm": (0.03, 0.1, 0.1, 0.2, 0.2, 0, 0, 9.0, 0, 0, 0.3),
        "encode": (0.01, 0.4, 0.3, 8.0),
        "decode": (0.01, 0.3, 0.5, 8.0),
    }
)


def cells(noise: float = 0.0) -> list[MeasuredCell]:
    """Layers of several families whose costs are the planted rates, with errors of a relative size."""
    chance = random.Random(1)
    found = []
    for sides in SIDES:
        for batch in (16, 196, 1024):
            shape = LayerShape(*sides, batch)
            for structure in structures(*sides, (1 / 16, 1 / 4)):
                for name in ("linear", "fused", "bmm"):
                    if name in structure.family.implementations:
                        cost = PLANTED.predict(parts_of(structure, shape, name, CPU))
                        if cost is not None:
                            error = 1 + noise * chance.uniform(-1, 1)
                            found.append(MeasuredCell(LayerCell(shape, structure, name), cost * error))
    return found


def test_the_cost_of_a_chain_is_that_of_its_factors_with_a_launch_for_each() -> None:
    shape = LayerShape(256, 256, 64)
    parts = parts_of(Structure.parse("blast 8,16"), shape, "fused", CPU)
    assert [part.kind for part in parts] == ["fused"] * 3
    assert [part.terms[0] for part in parts] == [1.0] * 3
    assert PartRates({"fused": (0.5, *[0.0] * 10)}).predict(parts) == 1.5


def test_a_tile_layer_is_an_encoding_a_core_and_a_decoding() -> None:
    shape = LayerShape(64, 128, 30)
    encode, core, decode = parts_of(Structure.parse("stl 4,24"), shape, "fused", CPU)
    assert (encode.kind, core.kind, decode.kind) == ("encode", "fused", "decode")
    assert encode.terms == pytest.approx(
        (1, 4 * 32 * 64 / 1e6, 4 * 32 * 64 * 24 / 16 / 1e6, 2e-9 * 32 * 64 * 24)
    )
    assert core.terms[7] == pytest.approx(2e-9 * 24 * 8 * 16 * 32)
    stock = parts_of(Structure.parse("stl 4,24"), shape, "stl_bmm", CPU)
    assert [part.kind for part in stock] == ["stl_bmm encode", "stl_bmm core", "stl_bmm decode"]


def test_auto_is_priced_by_the_choice_for_each_factor_of_a_layer() -> None:
    shape = LayerShape(384, 1536, 196)
    parts = parts_of(Structure.parse("ks 6,64,64,1;1,768,192,2"), shape, "auto", CPU)
    assert {part.kind for part in parts} <= {"fused", "bmm", "bmm_strided"}


def test_planted_rates_of_layers_are_found_for_a_shape_that_was_left_out() -> None:
    predicted = held_out_by_shape(cells(), CPU)
    assert len(predicted) == len(cells())
    assert all(one.predicted == pytest.approx(one.cost, rel=0.02) for one in predicted)
    score = score_layers(predicted)
    assert (score.accuracy, score.gain_accuracy) == (1.0, 1.0)
    assert score.regret == 0
    assert (score.layers, score.unpredicted) == (15, 0)


def test_noise_of_layers_shows_in_the_errors_and_hardly_in_the_regret() -> None:
    score = score_layers(held_out_by_shape(cells(0.1), CPU))
    assert 0.02 < score.median_errors["monarch/fused"] < 0.1
    assert score.regret is not None
    assert score.regret < 0.1
    assert score.majority_regret is not None
    assert score.majority_regret > 1


def test_a_wrong_prediction_of_a_layer_is_scored_as_such() -> None:
    shape = LayerShape(64, 64, 8)
    dense, chain = (LayerCell.parse(shape, name) for name in ("dense/linear", "low_rank 8/fused"))
    score = score_layers([PredictedCell(dense, 1.0, 2.0), PredictedCell(chain, 3.0, 1.0)])
    assert (score.accuracy, score.regret, score.gain_accuracy) == (0.0, 2.0, 0.0)
    assert score.median_errors == {"dense/linear": 1.0, "low_rank/fused": pytest.approx(2 / 3)}
    assert score_layers([PredictedCell(dense, 1.0, None)]).accuracy is None


def test_too_few_layers_give_no_rates() -> None:
    few = [one for one in cells() if str(one.cell).startswith("dense")][:7]
    assert fit_rates(few, CPU).constants == {}
    assert (
        fit_rates([], CPU).predict(parts_of(Structure("dense"), LayerShape(8, 8, 1), "linear", CPU)) is None
    )


def ranking(shape: LayerShape, measured: dict[str, list[MeasuredCell]]) -> LayerRanking:
    return rank_layer(shape, "a device", LayerCosts({"kind": "cuda", "model": "none"}), measured)


def test_a_ranking_of_a_layer_prefers_measured_costs_and_predicts_the_others() -> None:
    shape = LayerShape(512, 512, 196)
    measured = [one for one in cells() if one.cell.shape != shape]
    planted = MeasuredCell(LayerCell.parse(shape, "low_rank 16/fused"), 1e-3)
    found = ranking(shape, {"latency": [*measured, planted], "energy": []})
    first = found.cells[0]
    assert (first.structure, first.implementation, first.latency_source) == (
        "low_rank 16",
        "fused",
        "measured",
    )
    assert first.saved_ms == pytest.approx((found.dense_latency_ms or 0) - 1e-3)
    assert (first.energy_mj, first.energy_source, first.saved_mj) == (None, "no data", None)
    predicted = [one for one in found.cells if one.latency_source == "predicted"]
    assert [one.latency_ms for one in predicted] == sorted(one.latency_ms or 0 for one in predicted)
    assert {"dense", "monarch", "blast", "btt", "stl", "ks", "butterfly"} <= {one.family for one in predicted}


def test_a_layer_far_outside_the_measured_ones_or_of_another_precision_has_no_data() -> None:
    for shape in (LayerShape(512, 512, 2**20), LayerShape(512, 512, 196, "fp16")):
        found = ranking(shape, {"latency": cells()})
        assert {one.latency_source for one in found.cells} == {"no data"}
        assert all(one.saved_ms is None for one in found.cells)


def test_layers_of_one_size_predict_no_other_cell() -> None:
    shape = LayerShape(512, 512, 196)
    alike = [one for one in cells() if one.cell.shape == shape]
    found = ranking(shape, {"latency": alike})
    assert {one.latency_source for one in found.cells} == {"measured", "no data"}


def test_families_that_a_layer_cannot_have_are_named_with_the_reason() -> None:
    found = ranking(LayerShape(48, 96, 4), {})
    assert "power of two" in found.left_out["butterfly"]
    on_cpu = rank_layer(LayerShape(64, 64, 4), "cpu", LayerCosts(CPU), {})
    (pruned,) = (one for one in on_cpu.cells if one.family == "two_four")
    assert "a cpu has none" in (pruned.reason or "")

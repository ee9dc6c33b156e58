"""Models as arithmetic: the published parameters and operations."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from kswatch.errors import UsageError
from kswatch.kernels.models.base import MODEL_BASELINES, checked_structure
from kswatch.kernels.models.catalogue import MODELS, find_model
from kswatch.kernels.models.gpt2 import DOWN_CHAINS, GPT2_BLOCK, GPT2_MEDIUM, MODULES
from kswatch.kernels.models.vit_s16 import VIT_S16
from kswatch.kernels.pattern import Pattern


def test_parameters_and_operations_of_the_vision_model_are_the_papers() -> None:
    dense, chains = VIT_S16.variant("dense/fair"), VIT_S16.variant("ks/fused")
    assert VIT_S16.parameters(dense) == 21_958_504
    assert VIT_S16.parameters(chains) == 9_424_744
    assert round(VIT_S16.flops(dense, 128) / 1e9, 1) == 1171.0
    assert round(VIT_S16.flops(chains, 128) / 1e9, 1) == 542.1


def test_parameters_of_the_language_model_follow_the_published_formula() -> None:
    assert GPT2_MEDIUM.parameters(GPT2_MEDIUM.variant("dense/published")) == 354_823_168
    for chain, structure in zip(DOWN_CHAINS, GPT2_MEDIUM.structures, strict=True):
        weights = sum(pattern.nonzeros for pattern in chain)
        found = GPT2_MEDIUM.parameters(GPT2_MEDIUM.variant(f"{structure.name}/fused"))
        assert found == 354_823_168 - 24 * (4_194_304 - weights)


def test_the_language_models_chains_and_parameters_are_those_of_the_published_file() -> None:
    folder = os.environ.get("KSWATCH_REFERENCE")
    if not folder:
        pytest.skip("KSWATCH_REFERENCE names no folder of published data")
    with (Path(folder) / "gpt2_medium_e2e.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["down-pattern1"]]
    found = {}
    for row in rows:
        left, right = (Pattern(*json.loads(row[f"down-pattern{one}"])) for one in (1, 2))
        found[f"ks {right};{left}"] = int(row["number_parameters"])
    expected = {
        one.name: GPT2_MEDIUM.parameters(GPT2_MEDIUM.variant(f"{one.name}/bmm"))
        for one in GPT2_MEDIUM.structures
    }
    assert found == expected
    assert len(found) == 10


def test_a_block_is_a_part_of_the_language_model() -> None:
    whole, block = (one.variant("dense/fair") for one in (GPT2_MEDIUM, GPT2_BLOCK))
    assert GPT2_MEDIUM.flops(whole, 8) == 24 * GPT2_BLOCK.flops(block, 8)
    outer = 50_257 * 1024 + 1024 * 1024 + 2 * 1024
    assert GPT2_MEDIUM.parameters(whole) == outer + 24 * GPT2_BLOCK.parameters(block)


@pytest.mark.parametrize(("structure", "limit"), [(0, 1.42), (1, 2.47)])
def test_the_models_block_has_the_arithmetic_limit_of_its_gain(structure: int, limit: float) -> None:
    dense = GPT2_BLOCK.variant("dense/fair")
    chains = GPT2_BLOCK.variant(f"{GPT2_BLOCK.structures[structure].name}/fused")
    assert round(GPT2_BLOCK.flops(dense, 8) / GPT2_BLOCK.flops(chains, 8), 2) == limit


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.name)
def test_a_model_has_both_dense_variants_and_each_structure_by_each_implementation(model) -> None:
    names = [str(one) for one in model.variants()]
    assert names[:2] == ["dense/published", "dense/fair"]
    assert len(set(names)) == len(names) == 2 + len(model.structures) * (2 + len(MODEL_BASELINES))
    assert all(str(model.variant(name)) == name for name in names)
    for variant in model.variants():
        assert model.compulsory_bytes(variant, 2, "fp32") == 2 * model.compulsory_bytes(variant, 2, "fp16")
        assert model.memory_bytes(variant, 8, "fp32") > 4 * model.parameters(variant)


def test_layers_of_a_model_are_those_of_one_block_with_all_its_rows() -> None:
    layers = {module.name: shape for module, shape in VIT_S16.layers(128, "fp32")}
    assert layers["up"].in_features == 384
    assert {shape.batch for shape in layers.values()} == {25_088}
    gflops = 12 * sum(shape.dense_flops for shape in layers.values()) / 1e9
    assert 0.85 < gflops / (VIT_S16.flops(VIT_S16.variant("dense/fair"), 128) / 1e9) < 0.95


def test_names_and_chains_that_a_model_does_not_have_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown model 'vit'; choose from vit_s16"):
        find_model("vit")
    with pytest.raises(UsageError, match="no variant 'ks/slow'"):
        VIT_S16.variant("ks/slow")
    with pytest.raises(UsageError, match="there is no module mlp"):
        checked_structure("ks", {"mlp": DOWN_CHAINS[0]}, MODULES)
    with pytest.raises(UsageError, match="up: the chain makes 4096 -> 1024, not 1024 -> 4096"):
        checked_structure("ks", {"up": DOWN_CHAINS[0]}, MODULES)

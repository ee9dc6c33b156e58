"""The suite `transforms`, and that no other suite measures its precisions."""

from __future__ import annotations

import pytest

from kswatch.db.records import DENSE_LAYER, REFERENCES
from kswatch.declared.precisions import SUITE_PRECISIONS
from kswatch.kernels.families.base import LayerShape
from kswatch.profiler.planning.plan import Filters, plan_suite
from kswatch.profiler.planning.suites import SUITES
from kswatch.profiler.planning.transform_suite import BATCHES, LENGTHS, transform_cells
from kswatch.profiler.subjects.layer_cells import LayerCell
from kswatch.profiler.subjects.model_cells import ModelCell
from kswatch.profiler.subjects.problems import ModelForward

PLAN = plan_suite("transforms", device_kind="cpu")


def test_each_length_and_batch_has_the_transforms_of_its_precision_and_their_rivals() -> None:
    assert {(one.in_features, one.batch) for one in PLAN.problems} == {
        (n, b) for n in LENGTHS for b in BATCHES
    }
    by_precision = {
        precision: {
            (cell.structure.family_name, cell.implementation)
            for one in PLAN.problems
            if one.precision == precision
            for cell in map(LayerCell.parse, PLAN.names_of(one))
        }
        for precision in ("fp32", "fp64", "complex64")
    }
    chains = ("fused", "bmm", "bmm_strided", "lazylinop")
    hadamard = {("dense", "linear"), *(("hadamard", name) for name in chains)}
    assert by_precision["fp64"] == hadamard
    assert by_precision["fp32"] == hadamard | {("dct", name) for name in (*chains, "torch_fft")}
    assert by_precision["complex64"] == {
        ("dense", "linear"),
        *(("fft", name) for name in (*chains, "torch_fft")),
    }


def test_the_dense_matrix_comes_first_since_others_are_paired_with_it() -> None:
    assert DENSE_LAYER in REFERENCES
    assert all(PLAN.names_of(one)[0] == DENSE_LAYER for one in PLAN.problems)


@pytest.mark.parametrize(
    "suite", [one for one in SUITES if one.name not in ("fp8", "transforms")], ids=lambda one: one.name
)
def test_no_other_suite_has_a_new_precision_or_a_transform(suite) -> None:
    for kind in ("cpu", "cuda"):
        plan = plan_suite(suite.name, device_kind=kind)
        assert {one.precision for one in plan.problems} <= set(SUITE_PRECISIONS)
        cells = {name for problem in plan.structured for name in plan.names_of(problem)}
        assert not any(name.startswith(("fft", "dct", "hadamard")) for name in cells)


def test_a_new_precision_is_reached_by_naming_it() -> None:
    plan = plan_suite("smoke", Filters(precision=("complex64",)), device_kind="cpu")
    assert {one.precision for one in plan.problems} == {"complex64"}
    models = [one for one in plan.problems if isinstance(one, ModelForward)]
    cells = [ModelCell.parse(one, name) for one in models for name in plan.names_of(one)]
    reasons = {cell.reason(one, "cpu") for one in models for cell in cells}
    assert reasons == {"models are measured in fp32, tf32, bf16, fp16, not in complex64"}


def test_half_precision_leaves_the_hadamard_transform() -> None:
    names = transform_cells(LayerShape(64, 64, 8, "bf16"))
    assert {LayerCell.parse(name).structure.family_name for name in names} == {"dense", "hadamard"}

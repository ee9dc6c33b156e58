"""The suites of layers and models, and how filters choose from them."""

import pytest

from kswatch.db.records import DENSE_FAIR, DENSE_LAYER, is_structured
from kswatch.errors import UsageError
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.families.catalogue import FAMILIES
from kswatch.kernels.problem import Problem
from kswatch.profiler.empty_records import problem_key, problem_of
from kswatch.profiler.planning.plan import Filters, plan_suite
from kswatch.profiler.planning.structured_suites import LAYER_BATCHES, LAYER_SHAPES, layer_cells
from kswatch.profiler.subjects.layer_cells import LayerCell
from kswatch.profiler.subjects.model_cells import ModelCell
from kswatch.profiler.subjects.problems import ModelForward

SMOKE = plan_suite("smoke", device_kind="cpu")
LAYERS = plan_suite("layers")


def test_layers_are_at_most_1500_cells_at_every_shape_and_batch():
    assert LAYERS.cells <= 1500
    assert {(one.in_features, one.out_features) for one in LAYERS.problems} == set(LAYER_SHAPES)
    assert {one.batch for one in LAYERS.problems} == set(LAYER_BATCHES)


def test_a_square_layer_has_cells_of_every_family_and_the_dense_one_first():
    cells = [LayerCell.parse(name) for name in layer_cells(1024, 1024)]
    assert cells[0].name == DENSE_LAYER
    assert {cell.structure.family_name for cell in cells} == {family.name for family in FAMILIES}


def test_shares_of_dense_parameters_lie_near_a_32nd_to_a_quarter():
    cells = [LayerCell.parse(name) for name in layer_cells(1024, 4096)]
    shares = [
        cell.structure.parameters(1024, 4096) / (1024 * 4096)
        for cell in cells
        if cell.structure.family_name in ("low_rank", "monarch", "blast", "ks")
    ]
    for wanted in (1 / 32, 1 / 16, 1 / 8, 1 / 4):
        assert any(abs(share / wanted - 1) < 0.1 for share in shares)


def test_models_in_smoke_are_a_vit_and_a_block_of_gpt2_by_four_cells_each():
    models = [one for one in SMOKE.problems if isinstance(one, ModelForward)]
    assert {(one.model, one.batch, one.precision, one.execution) for one in models} == {
        (model, 1, precision, "eager")
        for model in ("vit_s16", "gpt2_block")
        for precision in ("fp32", "bf16")
    }
    for one in models:
        names = SMOKE.names_of(one)
        assert names[0] == DENSE_FAIR
        assert [name.rpartition("/")[2] for name in names] == ["fair", "bmm", "fused", "auto"]


def test_a_cpu_has_fewer_models_within_fifteen_minutes():
    cpu, gpu = plan_suite("models", device_kind="cpu"), plan_suite("models")
    assert set(cpu.problems) < set(gpu.problems)
    assert {one.batch for one in cpu.problems} == {1, 8}
    assert {one.execution for one in cpu.problems} == {"eager", "compile", "graph"}
    assert (cpu.budget_s, cpu.within_s, gpu.budget_s) == (900, 900, None)


def test_every_cell_of_a_model_is_a_variant_with_parameters_and_operations():
    for one in plan_suite("models").problems:
        for name in plan_suite("models").names_of(one):
            cell = ModelCell.parse(one, name)
            assert cell.name == name
            assert cell.demand(one).parameters > 1e6 and cell.flops(one) > 1e9


@pytest.mark.parametrize("problem", [*SMOKE.problems[:30], *LAYERS.problems[:3]])
def test_every_problem_comes_back_from_its_key(problem):
    assert problem_of(problem_key(problem)) == problem


def test_filters_choose_layers_models_and_their_cells():
    layers = plan_suite("layers", Filters(layer=("384,1536",), batch=(196,), implementation=("fused",)))
    assert layers.problems == (LayerShape(384, 1536, 196),)
    assert all(name.endswith("/fused") for name in layers.names_of(layers.problems[0]))
    models = plan_suite("models", Filters(model=("vit_s16",), precision=("fp32",), batch=(1,)))
    assert {one.model for one in models.problems} == {"vit_s16"}
    products = plan_suite("smoke", Filters(pattern=("6,64,64,1",)))
    assert all(isinstance(one, Problem) for one in products.problems)


def test_a_layer_alone_is_an_ad_hoc_plan_and_takes_any_cell():
    cells = ("low_rank 24/bmm", "dense/linear")
    plan = plan_suite("ad_hoc", Filters(layer=("100,200",), batch=(7,), implementation=cells))
    (only,) = plan.problems
    assert only == LayerShape(100, 200, 7)
    assert set(plan.names_of(only)) == set(cells)


def test_stored_filters_plan_the_same_layers_again():
    filters = Filters(layer=("384,1536",), implementation=("low_rank 24/bmm",))
    again = Filters.from_arguments(filters.as_arguments())
    assert plan_suite("ad_hoc", again) == plan_suite("ad_hoc", filters)


@pytest.mark.parametrize(
    ("suite", "filters", "reason"),
    [
        ("layers", Filters(layer=("384",)), "not of the form IN,OUT"),
        ("layers", Filters(layer=("384,0",)), "not of the form IN,OUT"),
        ("layers", Filters(batch=(0,)), "batch = 0 is not an integer >= 1"),
        ("models", Filters(batch=(0,)), "batch = 0 is not an integer >= 1"),
        ("models", Filters(model=("vit",)), "unknown model 'vit'"),
        ("smoke", Filters(model=("gpt2_medium",)), "no problem has these"),
        ("ad_hoc", Filters(model=("vit_s16",)), "measured by its suite"),
        ("ad_hoc", Filters(layer=("8,8",), implementation=("nothing 3/fused",)), "unknown family 'nothing'"),
        ("layers", Filters(implementation=("monarch 8,x/fused",)), "not a list of integers"),
    ],
)
def test_a_choice_that_makes_no_sense_is_a_usage_error(suite, filters, reason):
    with pytest.raises(UsageError, match=reason):
        plan_suite(suite, filters)


@pytest.mark.parametrize("names", [("ks/nothing",), ("ks/fused", "ks/nothing")])
def test_a_name_that_no_problem_has_a_cell_of_is_refused_with_those_that_there_are(names):
    with pytest.raises(UsageError, match="has a cell of ks/nothing; choose from dense/fair, .* more"):
        plan_suite("models", Filters(implementation=names))


def test_a_layer_has_no_cell_that_is_called_by_its_family_alone():
    chosen = Filters(layer=("64,64",), implementation=("fft 64/fused", "dense"))
    with pytest.raises(UsageError, match="has a cell of dense; choose from dense/linear"):
        plan_suite("ad_hoc", chosen)


def test_names_of_cells_are_structured():
    assert all(map(is_structured, layer_cells(384, 384)))

"""A plan is a suite narrowed by filters, in an order whose every prefix is a fair sample."""

from collections import Counter

import pytest

from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.profiler.planning.plan import Filters, plan_suite, stratified


def _stratum(problem):
    return (problem.pattern.family, problem.precision, problem.layout)


def test_every_prefix_of_a_plan_holds_each_stratum_in_proportion():
    problems = plan_suite("nightly").problems
    whole = Counter(map(_stratum, problems))
    for length in (50, 100, 333, 700):
        part = Counter(map(_stratum, problems[:length]))
        for stratum, count in whole.items():
            assert abs(part[stratum] - count * length / len(problems)) <= 1


def test_the_same_seed_gives_the_same_order_and_another_seed_another():
    problems = plan_suite("smoke").problems
    assert plan_suite("smoke").problems == problems
    assert plan_suite("smoke", seed=1).problems != problems
    assert stratified(reversed(problems)) == stratified(problems)


def test_chosen_values_narrow_a_suite():
    narrowed = plan_suite(
        "smoke", Filters(layout=("batch_last",), precision=("bf16",), implementation=("bmm", "fused"))
    )
    assert {(p.layout, p.precision) for p in narrowed.problems} == {("batch_last", "bf16")}
    assert len(narrowed.problems) == 3
    assert narrowed.implementations == ("fused", "bmm")
    assert narrowed.cells == 6


def test_a_value_outside_the_suite_is_crossed_with_the_suites_other_dimensions():
    crossed = plan_suite("vit_s16", Filters(pattern=("2,8,8,2", "6,64,64,1"), batch=(7,)))
    assert {p.pattern for p in crossed.problems} == {Pattern(2, 8, 8, 2), Pattern(6, 64, 64, 1)}
    assert {p.batch for p in crossed.problems} == {7}
    assert len(crossed.problems) == 2 * 4 * 2


def test_patterns_alone_are_an_ad_hoc_plan_in_fp32_and_both_layouts():
    ad_hoc = plan_suite("ad_hoc", Filters(pattern=("2,8,8,2",), batch=(16,)))
    assert [(p.batch, p.precision) for p in ad_hoc.problems] == [(16, "fp32")] * 2
    assert {p.layout for p in ad_hoc.problems} == {"batch_first", "batch_last"}
    assert ad_hoc.energy_problems == 2


def test_stored_filters_plan_the_same_cells_again():
    filters = Filters(pattern=("2,8,8,2",), batch=(16, 3), precision=("bf16",), implementation=("csr",))
    stored = filters.as_arguments()
    assert plan_suite("ad_hoc", Filters.from_arguments(stored)) == plan_suite("ad_hoc", filters)


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(pattern=("6,64,64",)),
        Filters(pattern=("6,64,64,1",), precision=("fp4",)),
        Filters(pattern=("6,64,64,1",), layout=("batch_middle",)),
        Filters(pattern=("6,64,64,1",), implementation=("cublas",)),
        Filters(pattern=("6,64,64,1",), batch=(0,)),
    ],
)
def test_an_invalid_plan_is_a_usage_error(filters):
    with pytest.raises(UsageError):
        plan_suite("ad_hoc", filters)

import pytest

from kswatch.dashboard.views.requests.form import (
    AD_HOC,
    SUITES,
    Asked,
    cost_text,
    read_batches,
    read_patterns,
)
from kswatch.db.request_queue.requests import Limits
from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern
from kswatch.profiler.planning.plan import Filters, plan_suite
from kswatch.profiler.planning.suites import SUITES as PROFILERS_SUITES


@pytest.mark.parametrize(
    "typed",
    [
        "6,64,64,1\n1,768,192,2",
        "6,64,64,1; 1,768,192,2;",
        "(6,64,64,1), (1,768,192,2)",
        " [6, 64, 64, 1]\n\n1,768,192,2",
        "6\t64\t64\t1\n1 768 192 2",
    ],
)
def test_patterns_may_be_typed_or_pasted(typed: str) -> None:
    assert read_patterns(typed) == (Pattern(6, 64, 64, 1), Pattern(1, 768, 192, 2))


@pytest.mark.parametrize("typed", ["6,64,64", "6,64,64,0", "six,64,64,1", "<script>"])
def test_a_malformed_pattern_is_refused_in_words(typed: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        read_patterns(typed)


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "many", "٣"])
def test_a_batch_that_is_none_is_refused_in_words(typed: str) -> None:
    with pytest.raises(UsageError, match="batch"):
        read_batches(typed)


def test_batches_are_read_once_each() -> None:
    assert read_batches("1, 8 8;64") == (1, 8, 64)


def test_a_run_over_no_pattern_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one pattern"):
        Asked("cpu", AD_HOC).refuse_nonsense(Limits())


def test_a_run_over_far_too_many_cells_is_refused() -> None:
    patterns = tuple(Pattern(1, b, 1, 1) for b in range(1, 2000))
    with pytest.raises(UsageError, match="cells"):
        Asked("cpu", AD_HOC, patterns).refuse_nonsense(Limits())


def test_the_profiler_knows_every_suite_that_is_offered() -> None:
    assert set(SUITES) == {suite.name for suite in PROFILERS_SUITES} | {AD_HOC}


@pytest.mark.parametrize(
    "asked",
    [
        Asked("cpu", AD_HOC, (Pattern(6, 64, 64, 1),)),
        Asked(
            "cpu",
            AD_HOC,
            (Pattern(6, 64, 64, 1),),
            (1, 8),
            ("fp32", "bf16"),
            ("batch_last",),
            ("fused", "bmm"),
        ),
    ],
)
def test_the_profiler_plans_as_many_cells_as_were_announced(asked: Asked) -> None:
    assert plan_suite(asked.suite, Filters.from_arguments(asked.arguments())).cells == asked.cells


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Asked("cpu", AD_HOC, (Pattern(1, 48, 48, 1),), precisions=("tf32",)), "no tf32"),
        (Asked("cpu", AD_HOC, (Pattern(1024, 64, 64, 1),), batches=(32_768,)), "a batch under 32,768"),
        (Asked("cpu", AD_HOC, (Pattern(1, 2, 3, 1), Pattern(1, 3, 4, 1)), is_chain=True), "do not chain"),
        (Asked("", "smoke"), "name the device"),
    ],
)
def test_nonsense_is_refused_in_words(asked: Asked, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        asked.refuse_nonsense(Limits())


def test_factors_of_a_layer_are_a_chain() -> None:
    factors = (Pattern(1, 192, 48, 2), Pattern(2, 48, 192, 1))
    chain = Asked("cpu", AD_HOC, factors, is_chain=True)
    chain.refuse_nonsense(Limits())
    assert chain.arguments() == {"pattern": ["1,192,48,2", "2,48,192,1"]}


@pytest.mark.parametrize(
    ("cells", "minutes", "budget", "said"),
    [
        (
            16,
            2.0,
            60,
            "16 cells: about 2.0 minutes by what a cell took there before; it ends after 60 minutes",
        ),
        (16, 90.0, 60, "what does not fit is recorded as skipped"),
        (16, None, None, "nothing was measured on that device yet"),
        (None, None, 60, "its size is not known"),
    ],
)
def test_the_cost_is_one_sentence(
    cells: int | None, minutes: float | None, budget: int | None, said: str
) -> None:
    assert said in cost_text(cells, minutes, budget)

from pathlib import Path

import pytest

from dashboard.app_pages.asking import AD_HOC, SUITES, Asked, expected_minutes, read_batches, read_patterns
from kernels.pattern import Pattern
from kswatch_errors import UsageError
from profiler.plan import Filters, plan_suite
from profiler.suite import SUITES as PROFILERS_SUITES


@pytest.mark.parametrize(
    "typed",
    [
        "6,64,64,1\n1,768,192,2",
        "6,64,64,1; 1,768,192,2;",
        "(6,64,64,1), (1,768,192,2)",
        " [6, 64, 64, 1]\n\n1,768,192,2",
    ],
)
def test_patterns_may_be_typed_or_pasted(typed: str) -> None:
    assert read_patterns(typed) == (Pattern(6, 64, 64, 1), Pattern(1, 768, 192, 2))


@pytest.mark.parametrize("typed", ["6,64,64", "6,64,64,0", "six,64,64,1", "<script>"])
def test_a_malformed_pattern_is_refused_in_words(typed: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        read_patterns(typed)


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "many"])
def test_a_batch_that_is_none_is_refused_in_words(typed: str) -> None:
    with pytest.raises(UsageError, match="batch"):
        read_batches(typed)


def test_batches_are_read_once_each() -> None:
    assert read_batches("1, 8 8;64") == (1, 8, 64)


def test_a_run_over_no_pattern_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one pattern"):
        Asked("cpu", AD_HOC).refuse_nonsense()


def test_a_run_over_far_too_many_cells_is_refused() -> None:
    patterns = tuple(Pattern(1, b, 1, 1) for b in range(1, 1300))
    with pytest.raises(UsageError, match="cells"):
        Asked("cpu", AD_HOC, patterns).refuse_nonsense()


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


def test_nothing_is_estimated_where_nothing_was_measured(
    own_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KSWATCH_DATABASE_URL", own_url)
    assert expected_minutes(Asked("cpu", AD_HOC, (Pattern(6, 64, 64, 1),))) is None

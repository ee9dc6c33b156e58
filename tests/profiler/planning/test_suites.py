"""The suites contain the problems of their rules."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from kswatch.errors import UsageError
from kswatch.kernels.families.base import LayerShape
from kswatch.kernels.pattern import Pattern, check_chain
from kswatch.kernels.problem import Problem
from kswatch.profiler.planning import suites


def test_the_papers_rule_gives_750_patterns_in_three_families():
    patterns = suites.paper_patterns()
    assert len(set(patterns)) == len(patterns) == 750
    assert Counter(pattern.family for pattern in patterns) == {"d=1": 219, "a=1": 203, "both>1": 328}


def test_every_tensor_of_the_paper_suite_has_fewer_than_two_to_the_31_elements():
    for pattern in suites.paper_patterns():
        assert max(pattern.rows, pattern.columns) * suites.PAPER_BATCH < 2**31


def test_the_nightly_sample_contains_each_family_and_size_in_proportion():
    sampled = suites.sample(suites.paper_patterns(), 120)
    assert len(set(sampled)) == 120
    assert Counter(pattern.family for pattern in sampled) == {"d=1": 35, "a=1": 33, "both>1": 52}
    assert {(p.b, p.c) for p in sampled} == {(p.b, p.c) for p in suites.paper_patterns()}


@pytest.mark.parametrize(
    ("name", "problems"),
    [
        ("paper", 3000),
        ("nightly", 960),
        ("small_batch", 480),
        ("vit_s16", 48),
        ("gpt2_medium", 96),
        ("fp8", 20),
    ],
)
def test_each_suite_has_the_stated_number_of_problems(name, problems):
    assert len(set(suites.find(name).problems())) == problems


def test_no_other_suite_has_fp8_which_layers_refuse():
    others = [suite for suite in suites.SUITES if suite.name not in ("fp8", "transforms")]
    kinds = {one.precision for suite in others for one in (*suite.problems(), *suite.problems_on("cpu"))}
    assert kinds == {"fp32", "tf32", "bf16", "fp16"}
    assert {one.precision for one in suites.find("fp8").problems()} == {"fp8"}
    with pytest.raises(UsageError, match="no layer is measured in precision 'fp8'; choose from fp32, tf32"):
        LayerShape(64, 64, 8, "fp8")


def test_the_chains_of_gpt2_medium_multiply_to_1024_by_4096():
    for chain in suites.GPT2_MEDIUM_CHAINS:
        check_chain(chain)  # right-most factor first
        assert (chain[-1].rows, chain[0].columns) == (1024, 4096)


@pytest.mark.skipif("KSWATCH_REFERENCE" not in os.environ, reason="KSWATCH_REFERENCE names no folder")
def test_the_chains_of_gpt2_medium_are_those_of_the_published_file():
    published = Path(os.environ["KSWATCH_REFERENCE"]) / "gpt2_medium_e2e.csv"
    rows = list(csv.DictReader(published.open()))
    chains = {
        tuple(Pattern.parse(row[column]) for column in ("down-pattern2", "down-pattern1"))
        for row in rows
        if row["down-pattern1"]
    }
    assert chains == set(suites.GPT2_MEDIUM_CHAINS)


def test_smoke_covers_every_family_and_layout_at_batch_1024():
    problems = [one for one in suites.find("smoke").problems() if isinstance(one, Problem)]
    assert {(p.pattern.family, p.layout) for p in problems} == {
        (family, layout) for family in ("d=1", "a=1", "both>1") for layout in ("batch_first", "batch_last")
    }
    assert {p.batch for p in problems} == {1024}
    assert len({p.pattern for p in problems}) == 10


def test_an_unknown_suite_is_a_usage_error_that_names_all():
    with pytest.raises(UsageError) as raised:
        suites.find("nightli")
    assert all(suite.name in str(raised.value) for suite in suites.SUITES)

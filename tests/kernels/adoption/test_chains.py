"""Every chain that is yielded is valid, and none is missing: checked against all tuples on small sizes."""

from __future__ import annotations

from itertools import islice, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kswatch
from kswatch.errors import UsageError
from kswatch.kernels.adoption.chains import blast, valid_chains, weight_count
from kswatch.kernels.heuristics.layer_costs import LayerCosts
from kswatch.kernels.layer.projection import product_pattern
from kswatch.kernels.pattern import Pattern

UP = (Pattern(6, 64, 64, 1), Pattern(1, 768, 192, 2))
DOWN = (Pattern(16, 64, 256, 1), Pattern(1, 64, 64, 16))


def support(pattern: Pattern) -> np.ndarray:
    """The pattern's entries, by its definition."""
    ones = np.ones((pattern.b, pattern.c), dtype=int)
    return np.kron(np.kron(np.eye(pattern.a, dtype=int), ones), np.eye(pattern.d, dtype=int))


def path_counts(chain: tuple[Pattern, ...]) -> np.ndarray:
    """The number of paths from each input to each output."""
    matrix = support(chain[0])
    for pattern in chain[1:]:
        matrix = support(pattern) @ matrix
    return matrix


def whole_product(chain: tuple[Pattern, ...]) -> Pattern | None:
    """The pattern of the product, which a weight can be projected on; None where it has none."""
    try:
        return product_pattern(chain)
    except UsageError:
        return None


def two_factor_chains(n: int, m: int, most: float) -> set[tuple[Pattern, ...]]:
    """All pairs of patterns with b and c above 1 whose product is a full matrix, with that many weights."""
    found = set()
    rights = [(a, c) for a, c in product(range(1, n + 1), range(2, n + 1)) if n % (a * c) == 0]
    lefts = [(a, b) for a, b in product(range(1, m + 1), range(2, m + 1)) if m % (a * b) == 0]
    for (a1, c1), (a2, b2), b1 in product(rights, lefts, range(2, int(most) // n + 1)):
        d1, d2 = n // (a1 * c1), m // (a2 * b2)
        middle = a1 * b1 * d1
        if middle % (a2 * d2) or middle // (a2 * d2) < 2:
            continue
        chain = (Pattern(a1, b1, c1, d1), Pattern(a2, b2, middle // (a2 * d2), d2))
        if most / 2 < weight_count(chain) <= most and whole_product(chain) == Pattern(1, m, n, 1):
            found.add(chain)
    return found


@settings(max_examples=25, deadline=None)
@given(n=st.integers(4, 24), m=st.integers(4, 24), density=st.sampled_from([0.6, 0.9, 1.0]))
def test_all_chains_of_two_factors_are_found_and_no_other(n: int, m: int, density: float) -> None:
    found = valid_chains(n, m, density, 2)
    assert len(set(found)) == len(found)
    assert set(found) == two_factor_chains(n, m, density * n * m)


@settings(max_examples=20, deadline=None)
@given(
    n=st.sampled_from([12, 16, 24]),
    m=st.sampled_from([8, 18, 32]),
    factors=st.integers(2, 4),
    density=st.sampled_from([0.5, 0.8, 1.0]),
)
def test_each_chain_makes_the_layers_shape_and_reaches_every_entry(
    n: int, m: int, factors: int, density: float
) -> None:
    for chain in islice(valid_chains(n, m, density, factors), 40):
        assert len(chain) == factors
        assert (chain[0].columns, chain[-1].rows) == (n, m)
        assert all(second.columns == first.rows for first, second in pairwise(chain))
        assert path_counts(chain).min() > 0
        assert density * n * m / 2 < weight_count(chain) <= density * n * m


@pytest.mark.parametrize(
    ("sides", "density", "chain"),
    [
        ((384, 1536), 0.55, UP),
        ((4096, 1024), 0.1, DOWN),
        ((64, 96), 0.5, (Pattern(1, 16, 64, 1), Pattern(1, 96, 16, 1))),  # low rank
        ((64, 64), 0.25, (Pattern(8, 8, 8, 1), Pattern(1, 8, 8, 8))),  # Monarch
        ((64, 96), 0.8, blast(64, 96, 4, 16)),
        ((16, 16), 0.5, tuple(Pattern(16 >> k, 2, 2, 1 << (k - 1)) for k in range(1, 5))),  # butterfly
    ],
)
def test_the_known_families_are_among_them(sides, density, chain) -> None:
    found = valid_chains(*sides, density, len(chain))
    if chain not in found:  # its weights are fewer than half of the density
        found = valid_chains(*sides, weight_count(chain) / (sides[0] * sides[1]), len(chain))
    assert chain in found


def test_they_come_best_predicted_first_and_stop_at_the_limit() -> None:
    found = list(kswatch.chains(384, 1536, density=0.5, batch=196, limit=20))
    assert len(found) == 20
    costs = LayerCosts({"kind": "cpu", "model": "cpu"}).cheapest(found, 196, "fp32")
    assert None not in costs
    assert costs == sorted(costs)


def test_one_rank_alone_is_yielded_where_it_is_named() -> None:
    for right, left in kswatch.chains(64, 128, density=1.0, rank=4, limit=1000):
        assert left.a * left.c // right.a == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"in_features": 0}, "in_features = 0 is not an integer from 1"),
        ({"out_features": 2.0}, "out_features = 2.0"),
        ({"density": 0}, "0 < density <= 1"),
        ({"density": float("nan")}, "0 < density <= 1"),
        ({"factors": 1}, "factors = 1"),
        ({"rank": -1}, "rank = -1"),
        ({"limit": True}, "limit = True"),
        ({"device": "TPU v7"}, "near names"),
        ({"precision": "fp7"}, "unknown precision"),
        ({"in_features": 1024, "out_features": 1024, "factors": 6, "rank": 2}, "more than 50,000 chains"),
    ],
)
def test_an_argument_that_makes_no_sense_is_one_sentence_at_the_call(arguments, sentence) -> None:
    with pytest.raises(UsageError, match=sentence) as raised:
        kswatch.chains(**{"in_features": 64, "out_features": 64, **arguments})
    assert "\n" not in str(raised.value)

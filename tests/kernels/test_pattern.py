from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kswatch.errors import UsageError
from kswatch.kernels.pattern import Pattern

sizes = st.integers(1, 2000)


def test_a_pattern_has_the_properties_of_its_matrix() -> None:
    pattern = Pattern(2, 3, 5, 4)
    assert (pattern.rows, pattern.columns, pattern.nonzeros) == (24, 40, 120)
    assert pattern.density == Fraction(1, 8)
    assert pattern.h == Fraction(8, 15)


def test_rows_columns_and_density_agree_with_the_dense_matrix(dense_matrix) -> None:
    pattern = Pattern(3, 2, 4, 5)
    matrix = dense_matrix(torch.ones(pattern.as_tuple()))
    assert matrix.shape == (pattern.rows, pattern.columns)
    assert matrix.count_nonzero() == pattern.nonzeros
    assert Fraction(int(matrix.count_nonzero()), matrix.numel()) == pattern.density


def test_the_support_is_the_kronecker_product_of_its_definition(dense_matrix) -> None:
    a, b, c, d = 2, 3, 4, 5
    support = torch.kron(torch.eye(a), torch.kron(torch.ones(b, c), torch.eye(d))).double()
    assert torch.equal(dense_matrix(torch.ones(a, b, c, d)), support)


@pytest.mark.parametrize(
    ("pattern", "family"),
    [((6, 64, 64, 1), "d=1"), ((1, 8, 8, 1), "d=1"), ((1, 8, 8, 3), "a=1"), ((2, 8, 8, 3), "both>1")],
)
def test_the_family_follows_from_a_and_d(pattern: tuple[int, ...], family: str) -> None:
    assert Pattern(*pattern).family == family


@given(sizes, sizes, sizes, sizes)
@settings(derandomize=True, max_examples=50)
def test_a_pattern_written_as_text_can_be_parsed(a: int, b: int, c: int, d: int) -> None:
    pattern = Pattern(a, b, c, d)
    for text in (str(pattern), f"({a}, {b}, {c}, {d})", f" [{a},{b}, {c},{d}] "):
        assert Pattern.parse(text) == pattern


@pytest.mark.parametrize("text", ["", "6,64,64", "6,64,64,1,1", "6;64;64;1", "six,1,1,1", "1.5,1,1,1"])
def test_an_invalid_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="6,64,64,1"):
        Pattern.parse(text)


@pytest.mark.parametrize("pattern", [(0, 1, 1, 1), (1, -2, 1, 1), (1, 1, 1.0, 1), (1, 1, 1, True)])
def test_an_invalid_size_is_named(pattern: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError, match="is not an integer >= 1"):
        Pattern(*pattern)

"""Families as arithmetic: sizes, chains, parameters, operations, reasons."""

from __future__ import annotations

import pytest

from kswatch.errors import UsageError
from kswatch.kernels.families.base import ChainFamily, LayerShape, chain_reason
from kswatch.kernels.families.catalogue import (
    FAMILIES,
    Structure,
    families_without_structure,
    family,
    structures,
)
from kswatch.kernels.families.ks import SHARES

SIDES = [(384, 384), (384, 1536), (1536, 384), (768, 768), (1024, 1024), (1024, 4096), (4096, 1024)]


def parameters(name: str, sides: tuple[int, int], size: tuple[int, ...]) -> int:
    return family(name).parameters(*sides, size)


@pytest.mark.parametrize("sides", SIDES)
def test_every_structure_of_a_layer_makes_its_shape_and_is_named_so_that_it_can_be_read_back(
    sides: tuple[int, int],
) -> None:
    found = structures(*sides)
    assert len(found) == len(set(found))
    for structure in found:
        assert structure.family.size_reason(*sides, structure.size) is None
        assert Structure.parse(str(structure)) == structure
        if isinstance(structure.family, ChainFamily):
            assert chain_reason(structure.family.chain(*sides, structure.size), *sides) is None


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(("name", "others"), [("low_rank", (-8, 8)), ("blast", (-8, 8)), ("btt", (-1, 1))])
def test_no_neighbouring_size_of_a_layer_is_nearer_to_the_share(
    name: str, others: tuple[int, int], sides: tuple[int, int], share: float
) -> None:
    ((*outer, rank),) = family(name).sizes(*sides, share)
    dense = sides[0] * sides[1]

    def distance(one: int) -> float:
        return abs(parameters(name, sides, (*outer, one)) / dense - share)

    assert all(distance(rank) <= distance(rank + step) for step in others if rank + step > 0)


@pytest.mark.parametrize("sides", SIDES)
def test_the_monarch_layer_of_a_share_is_the_nearest_of_all_whose_rank_divides_the_outputs(
    sides: tuple[int, int],
) -> None:
    dense = sides[0] * sides[1]
    for share in SHARES:
        ((blocks, rank),) = family("monarch").sizes(*sides, share)
        ratios = {
            one: parameters("monarch", sides, (blocks, one)) / dense / share
            for one in range(8, sides[1] + 1, 8)
            if sides[1] % one == 0
        }
        assert max(ratios[rank], 1 / ratios[rank]) == min(max(one, 1 / one) for one in ratios.values())


def test_parameters_of_a_layer_are_those_of_the_papers() -> None:
    n, m, b, r = 1024, 4096, 8, 24
    assert parameters("low_rank", (n, m), (r,)) == r * (n + m)
    assert parameters("monarch", (n, m), (b, 128)) == 128 * n + b * m
    assert parameters("blast", (n, m), (b, r)) == r * (n + m + b * b)
    assert parameters("btt", (n, m), (32, 64, 2)) == 2 * (n * 64 + m * 32)
    assert parameters("butterfly", (n, n), ()) == 2 * n * 10
    assert parameters("stl", (n, m), (4, 24)) == 24 * n * m // 16 + 2 * 24 * 16
    assert parameters("two_four", (n, m), ()) == n * m // 2
    assert Structure.parse("ks 16,64,64,1;1,256,64,16").parameters(n, m) == 65536 + 262144


def test_operations_of_a_strassen_tile_layer_approach_the_papers_gain() -> None:
    shape = LayerShape(8192, 8192, 25_088)
    structure = Structure("stl", (4, 24))
    rows, r, t, k, m = 25_088, 24, 4, 8192, 8192
    assert structure.flops(shape) == 2 * rows * k * r + 2 * r * rows * k * m // t**3 + 2 * rows * m * r
    assert shape.dense_flops / structure.flops(shape) == pytest.approx(1 / (r / t**3 + r / m + r / k))
    assert Structure("stl", (4, 24)).flops(LayerShape(64, 64, 1)) == structure.flops(LayerShape(64, 64, 4))


@pytest.mark.parametrize(
    ("structure", "sides", "part"),
    [
        ("monarch 8,10", (64, 64), "64 outputs are not a multiple of r = 10"),
        ("blast 8,16", (60, 64), "60 inputs are not a multiple of 8 blocks"),
        ("btt 7,8,1", (64, 64), "64 inputs are not a multiple of n1 = 7"),
        ("butterfly", (64, 128), "a power of two, not 64 -> 128"),
        ("butterfly", (96, 96), "a power of two"),
        ("stl 4,24", (64, 66), "66 outputs are not a multiple of the tile 4"),
        ("stl 4", (64, 64), "as in stl 4,24"),
        ("two_four", (64, 40), "multiples of 16"),
        ("ks 6,64,64,1;1,768,192,2", (384, 1024), "the chain makes 384 -> 1536, not 384 -> 1024"),
        ("ks 6,64,64,1;1,768,100,2", (384, 1536), "patterns do not chain"),
        ("ks 6,64,64", (384, 384), "patterns of four integers"),
        ("low_rank 0", (64, 64), "a rank >= 1"),
    ],
)
def test_a_layer_that_a_family_cannot_take_has_a_reason(
    structure: str, sides: tuple[int, int], part: str
) -> None:
    found = Structure.parse(structure)
    reason = found.unsupported_reason(LayerShape(*sides, 4), found.family.implementations[-1], "cpu")
    assert reason is not None
    assert part in reason


def test_a_family_without_a_structure_for_a_layer_is_named_with_its_reason() -> None:
    assert list(families_without_structure(384, 1536)) == ["butterfly"]
    reasons = families_without_structure(30, 50)
    assert {"stl", "butterfly", "two_four"} <= reasons.keys()
    assert "30 inputs are not a multiple of the tile 4" in reasons["stl"]
    assert "30 inputs are not a multiple of 8 blocks" in reasons["monarch"]
    assert "no chain of two factors" in families_without_structure(7, 11)["ks"]
    assert families_without_structure(1024, 1024) == {}


def test_an_implementation_that_is_not_of_the_family_is_refused_with_the_names_of_those_that_are() -> None:
    reason = Structure("dense").unsupported_reason(LayerShape(8, 8, 1), "fused", "cpu")
    assert reason == "dense is not computed by fused; choose from linear"


@pytest.mark.parametrize("text", ["dens", "monarch 8,x", "ks 1,2;a"])
def test_the_text_of_no_structure_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="unknown family|not a list of integers"):
        Structure.parse(text)


@pytest.mark.parametrize("values", [(0, 8, 1), (8, 8, 0), (8, -1, 2), (8, 8, True)])
def test_a_layer_of_no_size_or_batch_is_refused(values: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError, match="is not an integer >= 1"):
        LayerShape(*values)


def test_every_family_has_a_statement_and_a_name_of_its_own() -> None:
    assert len({one.name for one in FAMILIES}) == len(FAMILIES) == 9
    assert all(one.statement and one.implementations for one in FAMILIES)

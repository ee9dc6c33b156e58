"""The CPU twin against a dense float64 matrix built from the definition."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kswatch.kernels.fused.cpu_twin import tiles as twin_tiles
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Layout, Precision, Problem
from kswatch.kernels.reference import check, exact_dtype, make_operands, reference

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "fp64", "complex64")

pytestmark = [
    pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load())),
    pytest.mark.usefixtures("one_thread"),
]

# Each has tails of its own: in b and c (odd, over and under a tile), in d (all powers of two up to 8
# and their sums), in the batch (under a vector, under and over a panel of them).
TAILS = [
    ((1, 1, 1, 1), 1),
    ((3, 5, 7, 1), 1),
    ((1, 9, 3, 2), 2),
    ((2, 3, 5, 3), 33),
    ((1, 13, 2, 4), 17),
    ((2, 4, 3, 7), 47),
    ((1, 17, 19, 8), 16),
    ((1, 25, 6, 12), 49),
    ((2, 2, 9, 16), 15),
    ((1, 6, 4, 31), 7),
    ((1, 65, 33, 1), 70),
    ((1, 49, 50, 2), 96),
    ((5, 48, 16, 1), 131),
]


def problems() -> list[Problem]:
    return [
        Problem(Pattern(*pattern), batch, precision, layout)
        for pattern, batch in TAILS
        for precision in PRECISIONS
        for layout in LAYOUTS
    ]


def a_problem(precision: Precision = "fp32", layout: Layout = "batch_first") -> Problem:
    return Problem(Pattern(2, 5, 7, 3), 9, precision, layout)


def full_of_nan(*shape: object, **options: object) -> torch.Tensor:
    return torch.empty(*shape, **options).fill_(torch.nan)


def in_other_ways(problem: Problem, weights: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
    """The product with packed weights of Kᵀ, and with live weights of both forms."""
    of_transpose = weights.transpose(1, 2).contiguous()
    packed = twin.lay_out(problem, of_transpose, transposed=True)
    live, live_transpose = (twin.unpacked_product(problem, transposed) for transposed in (False, True))
    return [
        twin.product(problem, packed)(x, empty=full_of_nan),
        live(weights, x, empty=full_of_nan),
        live_transpose(of_transpose, x, empty=full_of_nan),
    ]


def sum_in_turn(terms: Iterable[torch.Tensor]) -> torch.Tensor:
    """The float32 sum, rounded after each term."""
    return reduce(torch.add, terms)


@pytest.mark.parametrize("problem", problems(), ids=str)
def test_every_precision_and_layout_is_right_for_partial_tiles(
    problem: Problem, assert_product: Callable[..., None]
):
    weights, x = make_operands(problem, "cpu", seed=1)

    y = twin.prepare(problem, weights)(x, empty=full_of_nan)

    assert_product(y, weights, x, problem.layout)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pattern", [(2, 13, 7, 1), (1, 9, 5, 11)], ids=str)
def test_every_tile_that_may_be_chosen_is_right(
    pattern: tuple[int, int, int, int],
    layout: Layout,
    precision: Precision,
    assert_product: Callable[..., None],
):
    limits = twin.require_twin().limits
    whole_tiles, a_few_more = 2 * limits.rows * limits.vectors * limits.vector_width, 5
    for batch in (37, whole_tiles + a_few_more):
        problem = Problem(Pattern(*pattern), batch, precision, layout)
        weights, x = make_operands(problem, "cpu", seed=1)
        tiles = list(twin_tiles.candidates(problem, limits))

        for tile in tiles:
            assert_product(twin.prepare(problem, weights, tile)(x, empty=full_of_nan), weights, x, layout)

        assert len({str(tile) for tile in tiles}) == len(tiles) > 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    pattern=st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 40), st.integers(1, 20)),
    batch=st.integers(1, 70),
    precision=st.sampled_from(PRECISIONS),
    layout=st.sampled_from(LAYOUTS),
)
def test_any_small_shape_agrees_with_the_definition(pattern, batch, precision, layout):
    problem = Problem(Pattern(*pattern), batch, precision, layout)
    weights, x = make_operands(problem, "cpu", seed=2)
    equation = "nilj,iklj->nikj" if layout == "batch_first" else "iljn,iklj->ikjn"
    a, _, c, d = pattern
    shape = (batch, a, c, d) if layout == "batch_first" else (a, c, d, batch)
    wide = exact_dtype(x)
    truth = torch.einsum(equation, x.to(wide).view(shape), weights.to(wide)).reshape(problem.output_shape)

    y = twin.prepare(problem, weights)(x, empty=full_of_nan)

    roundoff = {"fp32": 1e-6, "bf16": 2**-8, "fp16": 2**-11, "fp64": 1e-14, "complex64": 1e-6}[precision]
    assert torch.allclose(y.to(wide), truth, rtol=roundoff, atol=1e-14 if precision == "fp64" else 1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("pattern", [(2, 9, 5, 1), (1, 6, 5, 11), (1, 50, 5, 2)], ids=str)
def test_nothing_outside_the_output_is_written(
    pattern: tuple[int, int, int, int], precision: Precision, layout: Layout
):
    problem = Problem(Pattern(*pattern), 21, precision, layout)
    weights, x = make_operands(problem, "cpu", seed=3)
    rows, columns = problem.output_shape
    guard = 4096
    room = full_of_nan(rows * columns + 2 * guard, dtype=STORAGE_DTYPES[precision])

    twin.prepare(problem, weights)(x, empty=lambda shape, **_: room[guard:-guard].view(shape))

    assert room[:guard].isnan().all()
    assert room[-guard:].isnan().all()
    assert room[guard:-guard].isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", [37, 517, 1029])
def test_no_tile_writes_outside_the_output(batch: int, layout: Layout):
    problem = Problem(Pattern(1, 13, 7, 1), batch, "fp32", layout)
    weights, x = make_operands(problem, "cpu", seed=3)
    rows, columns = problem.output_shape
    guard = 16 * 1029
    for tile in twin_tiles.candidates(problem, twin.require_twin().limits):
        room = full_of_nan(rows * columns + 2 * guard)
        into_room = room[guard:-guard].view(rows, columns)
        twin.prepare(problem, weights, tile)(x, empty=lambda shape, into_room=into_room, **_: into_room)
        assert room[:guard].isnan().all() and room[-guard:].isnan().all(), str(tile)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_weights_and_inputs_are_not_changed(precision: Precision, layout: Layout):
    problem = a_problem(precision, layout)
    weights, x = make_operands(problem, "cpu", seed=4)
    before = weights.clone(), x.clone()

    twin.prepare(problem, weights)(x)

    assert torch.equal(weights, before[0])
    assert torch.equal(x, before[1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_nan_reaches_the_outputs_that_depend_on_it_and_no_other(precision: Precision, layout: Layout):
    problem = Problem(Pattern(2, 3, 5, 2), 4, precision, layout)
    weights, x = make_operands(problem, "cpu", seed=5)
    sample, column = 2, 1 * 5 * 2 + 4 * 2 + 1  # i = 1, l = 4, j = 1
    (x if layout == "batch_first" else x.t())[sample, column] = torch.nan

    y = twin.prepare(problem, weights)(x)

    by_sample = y if layout == "batch_first" else y.t()
    reached = [(sample, 1 * 3 * 2 + k * 2 + 1) for k in range(3)]
    assert by_sample.isnan().nonzero().tolist() == [list(place) for place in reached]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_sum_of_one_term_is_rounded_to_nearest_even(precision: Precision, layout: Layout):
    problem = Problem(Pattern(1, 40, 1, 1), 50, precision, layout)
    weights, x = make_operands(problem, "cpu", seed=6)
    in_float32 = weights.float().view(40, 1), x.float()  # exact: 24 bits hold the product of two 11s

    y = twin.prepare(problem, weights)(x)

    exact = in_float32[0] @ in_float32[1] if layout == "batch_last" else in_float32[1] @ in_float32[0].t()
    assert torch.equal(y, exact.to(y.dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("d", [1, 3])
def test_buffers_of_an_earlier_product_do_not_leak(d: int, precision: Precision, layout: Layout):
    problem = Problem(Pattern(1, 9, 5, d), 13, precision, layout)
    weights, x = make_operands(problem, "cpu", seed=7)
    wider = Problem(Pattern(1, 9, 6, d), 13, precision, layout)
    wider_weights, wider_x = make_operands(wider, "cpu", seed=7)
    twin.prepare(wider, wider_weights)(wider_x.fill_(torch.nan))

    assert twin.prepare(problem, weights)(x).isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_number_of_threads_changes_no_bit(layout: Layout):
    problem = Problem(Pattern(2, 40, 24, 3), 100, "fp32", layout)
    weights, x = make_operands(problem, "cpu", seed=6)
    product = twin.prepare(problem, weights)
    threads = torch.get_num_threads()
    try:
        answers = []
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            answers.append(product(x))
    finally:
        torch.set_num_threads(threads)

    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_the_product_keeps_its_own_copy_of_the_weights():
    problem = a_problem()
    weights, x = make_operands(problem, "cpu", seed=7)
    product = twin.prepare(problem, weights)
    y = product(x)
    weights.fill_(torch.nan)

    assert torch.equal(product(x), y)


MANY_WAYS = [(2, 33, 35, 1), (1, 20, 18, 2), (1, 17, 36, 3), (3, 9, 16, 8), (1, 34, 21, 24)]
"""Each packs by another transposition: squares, pairs, triples, runs of eight and of several periods."""


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("pattern", MANY_WAYS, ids=str)
def test_weights_packed_for_one_batch_serve_every_other_one(
    pattern: tuple[int, int, int, int], precision: Precision, layout: Layout
):
    problem = Problem(Pattern(*pattern), 21, precision, layout)
    weights, x = make_operands(problem, "cpu", seed=8)
    packed = twin.lay_out(replace(problem, batch=1000), weights)

    y = twin.product(problem, packed)(x, empty=full_of_nan)

    assert torch.equal(y, twin.prepare(problem, weights)(x))
    of_problem = twin.lay_out(problem, weights).words  # bits: half of a double may look like a NaN
    assert torch.equal(packed.words.view(torch.int32), of_problem.view(torch.int32))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("pattern", MANY_WAYS, ids=str)
def test_transposed_and_unpacked_weights_give_the_same_bits(
    pattern: tuple[int, int, int, int], precision: Precision, layout: Layout
):
    problem = Problem(Pattern(*pattern), 21, precision, layout)
    weights, x = make_operands(problem, "cpu", seed=9)
    y = twin.prepare(problem, weights)(x)

    assert all(torch.equal(other, y) for other in in_other_ways(problem, weights, x))


LONG_SUMS = [("fp32", c) for c in (1024, 1025, 4096, 8192, 32_768)] + [("bf16", 32_768), ("fp16", 32_768)]
LONG_SUMS += [("complex64", c) for c in (512, 513, 4096, 32_768)] + [("fp64", 32_768)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("precision", "c"), LONG_SUMS)
@pytest.mark.parametrize(("a", "b", "d", "batch"), [(1, 16, 1, 16), (2, 3, 3, 5)], ids=["vectors", "tails"])
def test_the_error_of_long_sums_stays_within_the_limit(a, b, d, batch, precision, c, layout):
    problem = Problem(Pattern(a, b, c, d), batch, precision, layout)
    weights, x = make_operands(problem, "cpu", seed=12)

    y = twin.prepare(problem, weights)(x, empty=full_of_nan)

    answer = check(problem, y, reference(problem, weights, x))
    assert answer.ok, answer.reason
    assert all(torch.equal(other, y) for other in in_other_ways(problem, weights, x))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("c", "block"), [(1, 1), (700, 700), (1024, 1024), (1025, 512), (1536, 512), (2100, 512)]
)
def test_fp32_adds_1024_terms_in_one_chain_and_more_in_blocks_of_512(c: int, block: int, layout: Layout):
    problem = Problem(Pattern(1, 5, c, 1), 7, "fp32", layout)
    weights, x = (operand.half().float() for operand in make_operands(problem, "cpu", seed=13))
    columns = x if layout == "batch_last" else x.t()
    products = weights.view(5, c).t()[:, :, None] * columns[:, None, :]  # exact: 24 bits hold that of two 11s

    y = twin.prepare(problem, weights)(x)

    expected = sum_in_turn([sum_in_turn(terms) for terms in products.split(block)])
    assert torch.equal(y, expected if layout == "batch_last" else expected.t())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("d", [1, 3])
def test_an_unpacked_product_sees_every_change_of_the_weights(d: int, layout: Layout):
    problem = Problem(Pattern(2, 20, 18, d), 9, "fp32", layout)
    weights, x = make_operands(problem, "cpu", seed=10)
    live = twin.unpacked_product(problem)
    before = live(weights, x)
    weights.numpy()[...] *= 2  # torch does not count this change

    assert torch.equal(live(weights, x), 2 * before)


def test_weights_at_an_odd_address_are_right(assert_product: Callable[..., None]):
    problem = Problem(Pattern(1, 20, 18, 1), 9, "bf16", "batch_last")
    weights, x = make_operands(problem, "cpu", seed=11)
    shifted = torch.cat([weights.flatten()[:1], weights.flatten()])[1:].view(weights.shape)

    assert shifted.data_ptr() % 4
    assert_product(twin.unpacked_product(problem)(shifted, x), weights, x, problem.layout)


def test_weights_may_have_any_strides():
    problem = a_problem()
    weights, x = make_operands(problem, "cpu", seed=8)
    strided = weights.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)

    assert torch.equal(twin.prepare(problem, strided)(x), twin.prepare(problem, weights)(x))


def test_the_code_has_a_hash_and_the_tile_a_description():
    assert len(twin.code_hash(a_problem())) == 64
    assert "vectors of" in twin.tile(a_problem(layout="batch_last"))
    assert "up to 2 j's" in twin.tile(a_problem())  # d = 3 is 2 and 1

"""Chains in one pass of the twin: bit for bit what two products and an addition give, with less memory."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kswatch.errors import UsageError
from kswatch.kernels.fused.cpu_twin import caches, chain, twin
from kswatch.kernels.implementation import STORAGE_DTYPES
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Layout, Precision, Problem

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
CHAINS = {
    "odd sizes": (Pattern(2, 5, 7, 3), Pattern(1, 9, 15, 2)),
    "wide in the middle": (Pattern(3, 40, 2, 1), Pattern(1, 4, 30, 4)),
    "one wide": (Pattern(1, 1, 5, 1), Pattern(1, 7, 1, 1)),
    "vectors of four": (Pattern(4, 64, 16, 1), Pattern(1, 64, 32, 8)),
}
BATCHES = (1, 15, 16, 47, 49, 131)

pytestmark = pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))


@pytest.fixture(params=[1, 2])
def threads(request):
    """A number of threads of torch, restored."""
    former = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(former)


def problems_of(
    patterns: tuple[Pattern, Pattern], batch: int, precision: Precision, layout: Layout
) -> tuple[Problem, Problem]:
    first, second = (Problem(pattern, batch, precision, layout) for pattern in patterns)
    return first, second


def operands(problems: tuple[Problem, Problem], seed: int = 0) -> tuple[torch.Tensor, ...]:
    """X, both packed weights and a bias."""
    generator = torch.Generator().manual_seed(seed)
    dtype = STORAGE_DTYPES[problems[0].precision]
    shapes = (problems[0].input_shape, *(one.pattern.as_tuple() for one in problems))
    x, *weights = (torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    bias = torch.randn(problems[1].pattern.rows, generator=generator).to(dtype)
    packed = tuple(twin.lay_out(one, weight) for one, weight in zip(problems, weights, strict=True))
    return x, packed, bias


def two_calls(problems, packed, bias, x: torch.Tensor) -> torch.Tensor:
    y = x
    for problem, words in zip(problems, packed, strict=True):
        y = twin.product(problem, words)(y)
    if bias is None:
        return y
    return y + (bias if problems[0].layout == "batch_first" else bias[:, None])


def poisoned(*sizes: object, **options: object) -> torch.Tensor:
    return torch.empty(*sizes, **options).fill_(float("nan"))


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize(("precision", "layout"), list(product(PRECISIONS, LAYOUTS)))
def test_a_chain_gives_the_bits_of_two_products(name, precision, layout, threads) -> None:
    for batch in BATCHES:
        problems = problems_of(CHAINS[name], batch, precision, layout)
        x, packed, bias = operands(problems)
        for tile, added in product((1, 16, 48, 1000), (None, bias)):
            y = chain.product(problems, packed, tile)(x, added, empty=poisoned)
            assert torch.equal(y, two_calls(problems, packed, added, x)), (batch, tile, added is None)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.tuples(*[st.integers(1, 6)] * 5),
    batch=st.integers(1, 90),
    tile=st.integers(1, 100),
    kind=st.sampled_from(list(product(PRECISIONS, LAYOUTS))),
)
def test_any_chain_gives_the_bits_of_two_products(sizes, batch, tile, kind) -> None:
    a, b, c, d, k = sizes
    patterns = Pattern(a, b * d, c, 1), Pattern(1, k, a * b, d)
    problems = problems_of(patterns, batch, *kind)
    x, packed, bias = operands(problems)
    y = chain.product(problems, packed, tile)(x, bias, empty=poisoned)
    assert torch.equal(y, two_calls(problems, packed, bias, x))


@pytest.mark.parametrize(
    ("l2_kb", "layout", "width", "entries"),
    [
        (2048, "batch_first", 1024, 384),
        (2048, "batch_first", 4096, 96),
        (512, "batch_first", 1024, 96),
        (256, "batch_first", 4096, 96),
        (2048, "batch_last", 1024, None),  # two products, one after the other
        (2048, "batch_last", 4096, None),
    ],
)
def test_a_tile_is_chosen_by_the_cache_and_the_width(monkeypatch, l2_kb, layout, width, entries) -> None:
    monkeypatch.setattr(chain, "l2_bytes", lambda: l2_kb * 1024)
    patterns = Pattern(16, width // 16, 64, 1), Pattern(1, 64, 64, width // 64)
    many, few = ([Problem(one, batch, "fp32", layout) for one in patterns] for batch in (4096, 7))
    assert chain.tile_size(*many) == entries
    assert chain.tile_size(*few) == 7


def test_weights_that_weigh_more_than_the_intermediate_take_two_products(monkeypatch) -> None:
    """All of them are read again for each tile, unless there is only one."""
    monkeypatch.setattr(chain, "l2_bytes", lambda: 1 << 20)
    second = Pattern(1, 64, 256, 16)
    for (blocks, width), tile in (((64, 64), 96), ((16, 256), 96), ((8, 512), None)):
        first = Pattern(blocks, width, width, 1)
        many, few = (
            [Problem(one, batch, "fp32", "batch_first") for one in (first, second)] for batch in (97, 96)
        )
        assert chain.tile_size(*many) == tile
        assert chain.tile_size(*few) == 96


def test_the_caches_are_read_by_level_and_the_second_is_known_or_assumed(monkeypatch, tmp_path) -> None:
    for index, level, kind, size in (
        (0, "1", "Data", "48K"),
        (1, "1", "Instruction", "32K"),
        (2, "2", "Unified", "1280K"),
        (3, "3", "Unified", "36M"),
        (4, "4", "Unified", "unknown"),
    ):
        folder = tmp_path / f"cpu0/cache/index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{text}\n")
    assert caches.cache_bytes(tmp_path) == {1: 48 << 10, 2: 1280 << 10, 3: 36 << 20}
    for folder, expected in ((tmp_path, 1280 << 10), (tmp_path / "nothing", chain.USUAL_L2_BYTES)):
        monkeypatch.setattr(caches, "CPU_FOLDER", folder)
        assert chain.l2_bytes.__wrapped__() == expected


def test_a_chain_that_is_none_is_refused() -> None:
    first, second = problems_of(CHAINS["odd sizes"], 9, "fp32", "batch_first")
    x, packed, _ = operands((first, second))
    with pytest.raises(UsageError, match="columns|chain"):
        chain.product((first, first), packed)
    other = Problem(second.pattern, 10, "fp32", "batch_first")
    with pytest.raises(UsageError, match="differ in batch"):
        chain.product((first, other), packed)
    with pytest.raises(UsageError, match="bias has shape"):
        chain.product((first, second), packed)(x, torch.zeros(3))

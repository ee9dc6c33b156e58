"""The chains that can replace a linear layer, best predicted first.

A chain of patterns (a, b, c, d), right-most first, is valid for a layer where each factor takes what the one
before gives, each output depends on each input, and the factors meet in blocks of one rank, so that a dense
weight can be projected on it. All such chains of L factors are, for a_1 | in, a_L = 1, a_(l+1) | a_l,
d_1 = 1, d_L | out, d_l | d_(l+1)·rank:

    factor l: (a_l, d_(l+1)·rank / d_l, a_(l-1)·rank / a_l, d_l), with c_1 = in / a_1 and b_L = out / d_L

so that low rank (a = d = 1), Monarch and BTT are among those of two factors, and butterfly among those of
log2(in). BLAST, whose blocks overlap and cannot be projected on, is added to those of three factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, product
from math import gcd
from typing import get_args

from kswatch.errors import UsageError
from kswatch.kernels.heuristics.device_distance import balance
from kswatch.kernels.heuristics.known_devices import find_device_facts
from kswatch.kernels.heuristics.layer_costs import Chain, LayerCosts
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Precision, Problem

MOST_FEATURES = 2**20
MOST_FACTORS = 24
MOST_CHAINS = 50_000
"""Above this number of chains a call is refused: ranking them would take longer than a minute."""
MOST_TRIED = 5_000_000
PLAIN_BALANCE = 50.0
"""Operations per byte of a device without known rates, between those of a CPU and of a tensor core."""


def chains(
    in_features: int,
    out_features: int,
    density: float = 0.25,
    factors: int = 2,
    rank: int | None = None,
    limit: int = 50,
    *,
    batch: int = 1024,
    precision: Precision = "fp32",
    device: str = "cpu",
) -> Iterator[Chain]:
    """Chains for a layer, by predicted latency (the sum of the factors), the lowest first.

    Where no latency can be predicted on the device, they are sorted by the bytes and operations that they
    need, weighted by the device's stated rates.

    Args:
        in_features: inputs of the layer.
        out_features: outputs of the layer.
        density: largest number of weights as a share of the dense layer's; at least half of that is used.
        factors: number of patterns, 2 or more.
        rank: rank of the blocks in which neighbouring factors meet; None means all for two factors, powers of
            two for more.
        limit: number of chains to yield.
        batch: rows of the input, for the prediction.
        precision: of weights and input, for the prediction.
        device: name of a device, for the prediction.

    Yields:
        Patterns, the right-most factor first, as `KSLinear` takes them.

    Raises:
        UsageError: an argument makes no sense, or there are more than 50,000 such chains.
    """
    _check_size("in_features", in_features, 1, MOST_FEATURES)
    _check_size("out_features", out_features, 1, MOST_FEATURES)
    _check_size("factors", factors, 2, MOST_FACTORS)
    _check_size("limit", limit, 1)
    _check_size("batch", batch, 1)
    if rank is not None:
        _check_size("rank", rank, 1)
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density <= 1:
        raise UsageError(
            f"density {density!r} is not a share of the dense weights; give 0 < density <= 1, as in 0.25"
        )
    if precision not in get_args(Precision):
        raise UsageError(f"unknown precision {precision!r}; choose from {', '.join(get_args(Precision))}")
    costs = LayerCosts(find_device_facts(device))
    found = valid_chains(in_features, out_features, density, factors, rank)
    return iter(by_predicted_cost(found, costs, batch, precision)[:limit])


def valid_chains(
    in_features: int, out_features: int, density: float, factors: int, rank: int | None = None
) -> list[Chain]:
    """Every valid chain whose share of the dense weights is between half the density and the density.

    Raises:
        UsageError: there are more than 50,000.
    """
    most = density * in_features * out_features
    highest = int(
        most / (in_features + out_features)
    )  # the first factor has in·rank weights or more, the last out·rank
    every = range(1, highest + 1) if factors == 2 else [2**power for power in range(highest.bit_length())]
    ranks = every if rank is None else [rank]
    found = (
        chain
        for one in ranks
        for chain in _chains_of_rank(in_features, out_features, factors, one, most)
        if 2 * weight_count(chain) > most
    )
    taken = list(islice(found, MOST_CHAINS + 1))
    if len(taken) > MOST_CHAINS:
        raise UsageError(_too_many(in_features, out_features, factors))
    return taken


def _too_many(in_features: int, out_features: int, factors: int) -> str:
    return (
        f"there are more than {MOST_CHAINS:,} chains of {factors} factors for {in_features} -> {out_features}"
        "; name a rank, a lower density or fewer factors"
    )


def weight_count(chain: Chain) -> int:
    """The number of weights of a chain."""
    return sum(pattern.nonzeros for pattern in chain)


def by_predicted_cost(found: list[Chain], costs: LayerCosts, batch: int, precision: Precision) -> list[Chain]:
    """The chains by predicted latency; those without a prediction last, by the traffic that they need."""
    predicted = costs.cheapest(found, batch, precision)

    def key(place: int) -> tuple[bool, float, int, Chain]:
        cost, chain = predicted[place], found[place]
        known = cost if cost is not None else _traffic_bytes(chain, costs, batch, precision)
        return cost is None, known, weight_count(chain), chain

    return [found[place] for place in sorted(range(len(found)), key=key)]


def _traffic_bytes(chain: Chain, costs: LayerCosts, batch: int, precision: Precision) -> float:
    rate = balance(costs.facts, precision) or PLAIN_BALANCE
    return traffic_bytes([Problem(pattern, batch, precision, costs.layout) for pattern in chain], rate)


def traffic_bytes(factors: Iterable[Problem], rate: float = PLAIN_BALANCE) -> float:
    """Bytes that the factors move, and their operations in bytes that would take as long.

    Args:
        factors: the product of each factor.
        rate: operations per byte of the device.
    """
    return sum(factor.compulsory_bytes + factor.flops / rate for factor in factors)


def _chains_of_rank(
    in_features: int, out_features: int, factors: int, rank: int, most: float
) -> Iterator[Chain]:
    """The chains of one rank with at most so many weights, in which each factor combines and spreads."""
    repeats = list(islice(_falling_divisors(in_features, factors, rank), MOST_CHAINS + 1))
    spreads = list(islice(_rising_divisors(out_features, factors, rank), MOST_CHAINS + 1))
    if len(repeats) * len(spreads) > MOST_TRIED:
        raise UsageError(_too_many(in_features, out_features, factors))
    for pair in product(repeats, spreads):
        chain = _chain(in_features, out_features, *pair, rank, most)
        if chain is not None:
            yield chain
    if factors == 3 and rank > 1 and (in_features + out_features) * rank < most:
        for blocks in _divisors(gcd(in_features, out_features))[1:]:
            chain = blast(in_features, out_features, blocks, rank)
            if weight_count(chain) <= most and min(chain[0].c, chain[2].b) > 1:
                yield chain


def _chain(
    in_features: int,
    out_features: int,
    repeats: tuple[int, ...],
    spread: tuple[int, ...],
    rank: int,
    most: float,
) -> Chain | None:
    """The chain with these a and d, right-most first; None where it is too large, or b or c is 1."""
    patterns, weights, columns = [], 0, in_features
    last = len(repeats) - 1
    for place, (a, d) in enumerate(zip(repeats, spread, strict=True)):
        c = in_features // a if place == 0 else repeats[place - 1] * rank // a
        b = out_features // d if place == last else spread[place + 1] * rank // d
        weights += columns * b
        if b == 1 or c == 1 or weights > most:
            return None
        patterns.append((a, b, c, d))
        columns = a * b * d
    return tuple(Pattern(*sizes) for sizes in patterns)


def blast(in_features: int, out_features: int, blocks: int, rank: int) -> Chain:
    """BLAST of blocks x blocks blocks (arXiv 2410.21262): a block shares its row's and column's factors."""
    return (
        Pattern(blocks, rank, in_features // blocks, 1),
        Pattern(1, blocks, blocks, rank),
        Pattern(blocks, out_features // blocks, rank, 1),
    )


def _falling_divisors(size: int, count: int, rank: int) -> Iterator[tuple[int, ...]]:
    """(a_1, ..., a_count = 1): a_1 divides the size, each divides the one before; c = 1 nowhere."""
    if count == 1:
        if size * rank > 1:
            yield (1,)
        return
    if rank == 1 and _prime_count(size) < count:
        return
    for first in _divisors(size):
        if first < size or rank > 1:
            yield from ((first, *others) for others in _falling_divisors(first, count - 1, rank))


def _rising_divisors(size: int, count: int, rank: int) -> Iterator[tuple[int, ...]]:
    """(d_1 = 1, ..., d_count): d_count divides the size, each divides the next one times the rank; b > 1."""
    if count == 1:
        if size > 1:
            yield (1,)
        return
    if rank == 1 and _prime_count(size) < count:
        return
    for last in _divisors(size)[:-1]:
        yield from ((*others, last) for others in _rising_divisors(last * rank, count - 1, rank))


def _prime_count(number: int) -> int:
    """The number of prime factors, each as often as it divides."""
    count, divisor = 0, 2
    while divisor * divisor <= number:
        if number % divisor:
            divisor += 1
        else:
            number, count = number // divisor, count + 1
    return count + (number > 1)


def _divisors(number: int) -> list[int]:
    small = [one for one in range(1, int(number**0.5) + 1) if number % one == 0]
    return sorted({*small, *(number // one for one in small)})


def _check_size(name: str, value: object, least: int, most: int | None = None) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or value < least
        or (most is not None and value > most)
    ):
        limits = f">= {least}" if most is None else f"from {least} to {most:,}"
        raise UsageError(f"{name} = {value!r} is not an integer {limits}")

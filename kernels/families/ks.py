"""`ks`: a named chain of Kronecker-sparse factors."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from kswatch.kernels.adoption.chains import traffic_bytes, valid_chains, weight_count
from kswatch.kernels.families.base import GRAIN, ChainFamily, Size, chain_reason
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem

SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4)
"""Shares of the dense parameters at which families are compared."""
TOLERANCE = 1.1
"""A chain within this factor of a share counts as of that share."""
ROWS = 1024
"""Rows of the input for which the chain that moves least is found."""

PUBLISHED: tuple[tuple[Pattern, ...], ...] = (
    (Pattern(2, 48, 192, 1), Pattern(1, 192, 48, 2)),
    (Pattern(6, 64, 64, 1), Pattern(1, 768, 192, 2)),
    (Pattern(6, 64, 256, 1), Pattern(1, 128, 128, 3)),
    *((Pattern(16, 64, 256, 1), Pattern(1, 1024 // d, 1024 // d, d)) for d in (1, 2, 4, 8, 16)),
    (Pattern(64, 64, 64, 1), Pattern(1, 128, 512, 8)),
    *((Pattern(a, 4096 // a, 4096 // a, 1), Pattern(1, 64, 256, 16)) for a in (64, 32, 16, 8)),
    (Pattern(16, 64, 64, 1), Pattern(1, 256, 64, 16)),
)
"""Chains of ViT-S/16 and GPT-2 medium in the paper (Gonon et al., ICML 2025), right-most factor first; the
last one is the transposed of a down-projection, for the up-projection."""


class KroneckerSparse(ChainFamily):
    """The patterns are the size, each as four numbers."""

    name = "ks"
    statement = "a chain of Kronecker-sparse factors (Gonon et al., ICML 2025)"
    size_names = ("patterns",)

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """The published chains nearest to this share, and the one of `kswatch.chains` that moves the least.

        That one is chosen by bytes and operations instead of by predicted times, so that the sizes of a
        suite depend neither on the machine nor on what was measured.
        """
        dense = in_features * out_features
        published = [
            chain
            for chain in PUBLISHED
            if chain_reason(chain, in_features, out_features) is None
            and _nearest_share(weight_count(chain) / dense) == share
        ]
        chains = dict.fromkeys([*published, *_least_traffic(in_features, out_features, share)])
        return tuple(as_size(chain) for chain in chains)

    def shape_reason(self, in_features: int, out_features: int) -> str:
        """No chain of two factors that is more than low rank, and none published."""
        return f"no chain of two factors with fewer weights has the shape {in_features} -> {out_features}"

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """The patterns chain and make this shape."""
        if not size or len(size) % 4 or min(size) < 1:
            return "ks takes patterns of four integers >= 1, as in ks 6,64,64,1;1,768,192,2"
        return chain_reason(as_chain(size), in_features, out_features)

    def chain(self, in_features: int, out_features: int, size: Size) -> tuple[Pattern, ...]:
        """The patterns."""
        del in_features, out_features
        return as_chain(size)


def as_size(chain: tuple[Pattern, ...]) -> Size:
    """A chain as the size of `ks`."""
    return tuple(number for pattern in chain for number in pattern.as_tuple())


def as_chain(size: Size) -> tuple[Pattern, ...]:
    """The chain of a size of `ks`."""
    return tuple(Pattern(*size[start : start + 4]) for start in range(0, len(size), 4))


@cache
def _least_traffic(in_features: int, out_features: int, share: float) -> tuple[tuple[Pattern, ...], ...]:
    """The chain of two factors of about this share that moves and multiplies least; none without one.

    Low rank is left out: it is a family of its own.
    """
    valid = valid_chains(in_features, out_features, min(1.0, TOLERANCE * share), 2)
    structured = [chain for chain in valid if any(one.a * one.d > 1 for one in chain)]
    grained = [chain for chain in structured if not any(one.b % GRAIN or one.c % GRAIN for one in chain)]
    found = grained or structured
    wanted = share * in_features * out_features
    near = [chain for chain in found if TOLERANCE * weight_count(chain) >= wanted]
    near = near or sorted(found, key=lambda chain: abs(weight_count(chain) - wanted))[:1]
    return tuple(sorted(near, key=lambda chain: (_traffic(chain), chain))[:1])


def _traffic(chain: Iterable[Pattern]) -> float:
    return traffic_bytes(Problem(one, ROWS, "fp32", "batch_first") for one in chain)


def _nearest_share(share: float) -> float:
    return min(SHARES, key=lambda one: max(one / share, share / one))

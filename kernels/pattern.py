"""A Kronecker-sparse pattern: the support of a matrix, as four integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from kswatch.errors import UsageError


@dataclass(frozen=True, order=True, slots=True)
class Pattern:
    """Support I_a ⊗ 1_{b×c} ⊗ I_d (Gonon et al., ICML 2025, section 2).

    Row (i, k, j) is i·bd + k·d + j, column (i, l, j) is i·cd + l·d + j, and
    K[(i, k, j), (i, l, j)] = W[i, k, l, j] for weights of shape (a, b, c, d).
    """

    a: int
    b: int
    c: int
    d: int

    def __post_init__(self) -> None:
        for letter, value in zip("abcd", self.as_tuple(), strict=True):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(
                    f"pattern {self.as_tuple()}: {letter} = {value!r} is not an integer >= 1; "
                    "write four of them, as in 6,64,64,1"
                )

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """The pattern from a text `a,b,c,d` (spaces, brackets and parentheses are allowed).

        Raises:
            UsageError: the text is not four integers >= 1.
        """
        parts = text.strip().strip("[]()").split(",")
        try:
            a, b, c, d = (int(part.strip().strip("[]()")) for part in parts)
        except ValueError:
            raise UsageError(
                f"pattern {text!r} is not of the form a,b,c,d; write four integers >= 1, as in 6,64,64,1"
            ) from None
        return cls(a, b, c, d)

    def as_tuple(self) -> tuple[int, int, int, int]:
        """(a, b, c, d)."""
        return (self.a, self.b, self.c, self.d)

    def __str__(self) -> str:
        return f"{self.a},{self.b},{self.c},{self.d}"

    @property
    def rows(self) -> int:
        """M = abd, the number of output features."""
        return self.a * self.b * self.d

    @property
    def columns(self) -> int:
        """N = acd, the number of input features."""
        return self.a * self.c * self.d

    @property
    def nonzeros(self) -> int:
        """The number of weights: abcd."""
        return self.a * self.b * self.c * self.d

    @property
    def density(self) -> Fraction:
        """Nonzeros over M·N = 1/(ad)."""
        return Fraction(1, self.a * self.d)

    @property
    def h(self) -> Fraction:
        """(b+c)/(bc), by which the paper ranks patterns: activations moved per multiplication."""
        return Fraction(self.b + self.c, self.b * self.c)

    @property
    def family(self) -> str:
        """`d=1`, `a=1` or `both>1`: it determines which permutations the stock methods need."""
        if self.d == 1:
            return "d=1"
        return "a=1" if self.a == 1 else "both>1"


def check_chain(patterns: Sequence[Pattern]) -> None:
    """Check that factors can be multiplied; `patterns[0]`, the right-most factor, is applied first.

    Raises:
        UsageError: the output features of a factor are not the input features of the next one.
    """
    for first, second in pairwise(patterns):
        if second.columns != first.rows:
            raise UsageError(
                f"patterns do not chain: ({first}) gives {first.rows} features, ({second}) takes "
                f"{second.columns}; list them right-most factor first"
            )

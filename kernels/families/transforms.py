"""Fast transforms as chains: the matrices are fixed, so they are no parametrisation of a layer's weights.

`hadamard` is a chain, `fft` a chain after a gather of the inputs in the order of their reversed digits, and
`dct` (DCT-II) that chain between another gather and a real part (J. Makhoul, "A fast cosine transform in one
and two dimensions", IEEE Trans. ASSP 28, 1980). The radix is the size: factors of r x r blocks, as equal as
powers of two allow.
"""

from __future__ import annotations

from typing import ClassVar

from kswatch.errors import UsageError
from kswatch.kernels.families.base import FACTOR_IMPLEMENTATIONS, ChainFamily, LayerShape, Size
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import PRECISIONS, Precision, Problem

LARGEST_RADIX = 16
"""With larger blocks a factor multiplies more than it saves in passes over memory."""
TORCH_FFT = "torch_fft"
"""The same transform by `torch.fft`."""
LAZYLINOP = "lazylinop"
"""The factors by the rival of this name."""


def check_length(name: str, n: int) -> int:
    """The length, if it is a power of two.

    Raises:
        UsageError: it is not.
    """
    if not _is_power_of_two(n):
        raise UsageError(f"{name} needs n = a power of two, 2 or more, not {n!r}")
    return n


def check_radix(radix: int) -> int:
    """The radix, if it is a power of two.

    Raises:
        UsageError: it is not.
    """
    if not _is_power_of_two(radix):
        raise UsageError(f"the radix is a power of two, 2 or more, not {radix!r}")
    return radix


def _is_power_of_two(number: object) -> bool:
    return (
        isinstance(number, int) and not isinstance(number, bool) and number > 1 and not number & (number - 1)
    )


def radices(n: int, largest: int = LARGEST_RADIX) -> tuple[int, ...]:
    """Powers of two whose product is n, as few and as equal as possible, the larger ones first."""
    bits, most = n.bit_length() - 1, largest.bit_length() - 1
    count = -(-bits // most)
    return tuple(1 << (bits // count + (place < bits % count)) for place in range(count))


def transform_chain(n: int, largest: int = LARGEST_RADIX) -> tuple[Pattern, ...]:
    """(n/(r d), r, r, d) for each radix r, where d is the product of those before it; right-most first."""
    patterns, d = [], 1
    for radix in radices(n, largest):
        patterns.append(Pattern(n // (radix * d), radix, radix, d))
        d *= radix
    return tuple(patterns)


class TransformFamily(ChainFamily):
    """A fixed matrix as a chain; its parameters are the numbers of its factors."""

    size_names = ("radix",)
    typical_size = (LARGEST_RADIX,)
    implementations: ClassVar[tuple[str, ...]] = (*FACTOR_IMPLEMENTATIONS, LAZYLINOP)
    precisions: ClassVar[tuple[Precision, ...]] = PRECISIONS

    def sizes(self, in_features: int, out_features: int, share: float) -> tuple[Size, ...]:
        """The usual radix."""
        del share
        usual = self.size_reason(in_features, out_features, self.typical_size)
        return (self.typical_size,) if usual is None else ()

    def size_reason(self, in_features: int, out_features: int, size: Size) -> str | None:
        """Inputs and outputs are the same power of two, 2 or more, and the radix is one."""
        if len(size) != 1 or size[0] < 2 or size[0] & (size[0] - 1):
            return f"{self.name} takes a radix, a power of two, as in {self.name} {LARGEST_RADIX}"
        if in_features != out_features or in_features < 2 or in_features & (in_features - 1):
            return f"{self.name} needs inputs = outputs = a power of two, not {in_features} -> {out_features}"
        return None

    def chain(self, in_features: int, out_features: int, size: Size) -> tuple[Pattern, ...]:
        """The factors of the radix."""
        del out_features
        return transform_chain(in_features, *size)


class Hadamard(TransformFamily):
    """H of entries 1 and -1 in Sylvester's order, not scaled."""

    name = "hadamard"
    statement = "fast Hadamard transform, a chain of Hadamard blocks (Sylvester's order)"


class Fft(TransformFamily):
    """The discrete Fourier transform; the gather is a part of it."""

    name = "fft"
    statement = "fast Fourier transform, a chain after a digit reversal (Cooley and Tukey, 1965)"
    implementations: ClassVar[tuple[str, ...]] = (*TransformFamily.implementations, TORCH_FFT)
    precisions: ClassVar[tuple[Precision, ...]] = ("complex64",)


class Dct(TransformFamily):
    """DCT-II of real numbers by a complex chain, whose left-most factor holds the diagonal."""

    name = "dct"
    statement = "DCT-II: a gather, a complex chain with a diagonal, the real part (Makhoul, 1980)"
    implementations: ClassVar[tuple[str, ...]] = Fft.implementations
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)

    def factor_problems(self, shape: LayerShape, size: Size) -> tuple[Problem, ...]:
        """In complex64, whatever the precision of inputs and outputs."""
        chain = self.chain(shape.in_features, shape.out_features, size)
        return tuple(Problem(one, shape.batch, "complex64", shape.layout) for one in chain)

    def flops(self, shape: LayerShape, size: Size) -> int:
        """Of the complex factors."""
        return sum(one.flops for one in self.factor_problems(shape, size))


TRANSFORMS: tuple[TransformFamily, ...] = (Hadamard(), Fft(), Dct())

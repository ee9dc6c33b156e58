"""The one explicit list of families, and structures: a family at a size, as a layer's cell names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kswatch.errors import UsageError
from kswatch.kernels.families.base import Family, LayerShape, Size
from kswatch.kernels.families.blast import Blast
from kswatch.kernels.families.btt import BlockTensorTrain
from kswatch.kernels.families.butterfly import Butterfly
from kswatch.kernels.families.dense import Dense
from kswatch.kernels.families.ks import SHARES, KroneckerSparse
from kswatch.kernels.families.low_rank import LowRank
from kswatch.kernels.families.monarch import Monarch
from kswatch.kernels.families.stl import StrassenTile
from kswatch.kernels.families.transforms import TRANSFORMS
from kswatch.kernels.families.two_four import TwoFour

FAMILIES: tuple[Family, ...] = (
    Dense(),
    KroneckerSparse(),
    LowRank(),
    Monarch(),
    Butterfly(),
    Blast(),
    BlockTensorTrain(),
    StrassenTile(),
    TwoFour(),
)


def family(name: str) -> Family:
    """The family, or the transform, with the given name.

    Raises:
        UsageError: no family has this name.
    """
    known: tuple[Family, ...] = (*FAMILIES, *TRANSFORMS)
    for candidate in known:
        if candidate.name == name:
            return candidate
    raise UsageError(f"unknown family {name!r}; choose from {', '.join(one.name for one in known)}")


@dataclass(frozen=True, order=True, slots=True)
class Structure:
    """A family at a size; its text is the first part of a layer's cell, as in `low_rank 32/fused`."""

    family_name: str
    size: Size = ()

    @classmethod
    def parse(cls, text: str) -> Structure:
        """The structure from its text, such as `dense`, `monarch 8,16` or `ks 6,64,64,1;1,768,192,2`.

        Raises:
            UsageError: there is no such family, or its size is not made of integers.
        """
        name, _, numbers = text.strip().partition(" ")
        family(name)
        try:
            return cls(name, tuple(int(one) for one in numbers.replace(";", ",").split(",") if one.strip()))
        except ValueError:
            raise UsageError(
                f"structure {text!r}: its size is not a list of integers, as in monarch 8,16"
            ) from None

    def __str__(self) -> str:
        if self.family_name == KroneckerSparse.name:
            patterns = (self.size[start : start + 4] for start in range(0, len(self.size), 4))
            numbers = ";".join(",".join(map(str, pattern)) for pattern in patterns)
        else:
            numbers = ",".join(map(str, self.size))
        return f"{self.family_name} {numbers}".strip()

    @property
    def family(self) -> Family:
        """The family of this name."""
        return family(self.family_name)

    def parameters(self, in_features: int, out_features: int) -> int:
        """Trainable numbers of a layer of this shape, without a bias."""
        return self.family.parameters(in_features, out_features, self.size)

    def flops(self, shape: LayerShape) -> int:
        """Operations that the structure needs."""
        return self.family.flops(shape, self.size)

    def compulsory_bytes(self, shape: LayerShape) -> int:
        """Bytes that no implementation can avoid."""
        return self.family.compulsory_bytes(shape, self.size)

    def unsupported_reason(self, shape: LayerShape, implementation: str, device_kind: str) -> str | None:
        """Why a device of this kind cannot compute a layer so, from its sizes alone; None where it may."""
        return self.family.implementation_reason(shape, self.size, implementation, device_kind)


def structures(
    in_features: int, out_features: int, shares: Sequence[float] = SHARES
) -> tuple[Structure, ...]:
    """Each family's structures nearest to the shares of the dense parameters, in the catalogue's order."""
    found = (
        Structure(one.name, size)
        for one in FAMILIES
        for share in shares
        for size in one.sizes(in_features, out_features, share)
    )
    return tuple(dict.fromkeys(found))


def families_without_structure(in_features: int, out_features: int) -> dict[str, str]:
    """The reason for each family that has no layer of this shape at any share, by the family's name."""
    present = {one.family_name for one in structures(in_features, out_features)}
    return {
        one.name: one.shape_reason(in_features, out_features) for one in FAMILIES if one.name not in present
    }

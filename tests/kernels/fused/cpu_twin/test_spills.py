"""No register of a multiplying loop is kept in memory, in what this machine's compiler made."""

import shutil

import pytest

from kswatch.kernels.fused.cpu_twin import build as twin_build
from kswatch.kernels.fused.cpu_twin import twin
from kswatch.kernels.fused.cpu_twin.tiles import default_tile
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import LAYOUTS, Precision, Problem
from tests.kernels.fused.cpu_twin.spills import Tile, disassembly, spills

ELEMENTS: dict[str, Precision] = {
    "Fp32": "fp32",
    "Bf16": "bf16",
    "Fp16": "fp16",
    "Fp64": "fp64",
    "Complex64": "complex64",
}

LISTING = """
0000000000001000 <void multiply_tile<Fp32, 8, 3, 1>(TileOperands<Fp32> const&)>:
    1000:	vmovups %zmm1,-0x80(%rbp)
    1004:	prefetcht1 (%rsi)
    1008:	vmovups (%r8),%zmm2
    100c:	vmovaps 0x40(%rsp),%zmm3
    1010:	vbroadcastss (%rdx),%zmm29
    1014:	vfmadd231ps 0x80(%rsp),%zmm29,%zmm4
    1018:	vfmadd231ps %zmm2,%zmm29,%zmm5
    101c:	mov    0x8(%rsp),%rcx
    1020:	dec    %r12
    1024:	jne    1008 <void multiply_tile<Fp32, 8, 3, 1>(TileOperands<Fp32> const&)+0x8>
    1028:	vmovups %zmm4,(%rsp)
    102c:	jmp    1004 <void multiply_tile<Fp32, 8, 3, 1>(TileOperands<Fp32> const&)+0x4>
0000000000002000 <other(float*)>:
    2000:	vfmadd231ps 0x80(%rsp),%zmm29,%zmm4
    2004:	jne    2000 <other(float*)>
"""


def test_the_counter_counts_vectors_on_the_stack_inside_the_multiplying_loop():
    assert spills(LISTING) == {("Fp32", 8, 3, 1): 2}


def tiles_that_can_run(element: str) -> set[tuple[int, int]]:
    """Rows and vectors of the chosen tiles and of the smaller ones for remaining rows and vectors."""
    limits = twin.require_twin().limits
    found = set()
    for layout in LAYOUTS:
        tile = default_tile(Problem(Pattern(1, 512, 8, 8), 64, ELEMENTS[element], layout), limits)
        found |= {
            (rows, vectors) for rows in range(1, tile.rows + 1) for vectors in range(1, tile.vectors + 1)
        }
    return found


@pytest.mark.skipif(isinstance(twin.load(), str), reason=str(twin.load()))
@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump (binutils) to disassemble the twin")
def test_no_tile_that_can_be_chosen_spills_in_its_loops():
    found: dict[Tile, int] = spills(disassembly(twin_build.library()[0]))
    chosen = {tile: count for tile, count in found.items() if tile[1:3] in tiles_that_can_run(tile[0])}

    assert len({tile[0] for tile in chosen}) == len(ELEMENTS)
    assert {tile: count for tile, count in chosen.items() if count} == {}

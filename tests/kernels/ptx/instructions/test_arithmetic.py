"""Instructions on registers, against values worked by hand from the manual's definitions."""

from __future__ import annotations

import struct

import pytest

from tests.kernels.ptx.small_kernels import evaluate

M = 2**32
L = 2**64


def f(value: float) -> int:
    return struct.unpack("<I", struct.pack("<f", value))[0]


def g(value: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", value))[0]


NAN, INF = 0x7FC00000, 0x7F800000
CASES = {
    "add.s32 {d}, {a}, {b};": ("www", [((7, 5), 12), ((M - 1, 1), 0), ((0x7FFFFFFF, 1), 0x80000000)]),
    "add.s64 {d}, {a}, {b};": ("lll", [((L - 1, 2), 1), ((M - 1, 1), M)]),
    "sub.s32 {d}, {a}, {b};": ("www", [((5, 7), M - 2), ((0, 0), 0)]),
    "sub.u16 {d}, {a}, {b};": ("hhh", [((5, 7), 0xFFFE)]),
    "mul.lo.s32 {d}, {a}, {b};": ("www", [((M - 3, 5), M - 15), ((0x10000, 0x10000), 0)]),
    "mul.lo.s64 {d}, {a}, {b};": ("lll", [((M, M), 0), ((3, L - 1), L - 3)]),
    "mul.hi.u32 {d}, {a}, {b};": ("www", [((M - 1, M - 1), M - 2), ((M - 1, 1), 0)]),
    "mul.hi.s32 {d}, {a}, {b};": ("www", [((M - 1, 1), M - 1), ((0x40000000, 8), 2)]),
    "mul.hi.u64 {d}, {a}, {b};": ("lll", [((L - 1, 2), 1)]),
    "mul.wide.s32 {d}, {a}, {b};": ("lww", [((M - 1, 3), L - 3), ((0x10000, 0x10000), M)]),
    "mul.wide.u32 {d}, {a}, {b};": ("lww", [((M - 1, 3), 3 * (M - 1))]),
    "mul.wide.u16 {d}, {a}, {b};": ("whh", [((0xFFFF, 0xFFFF), 0xFFFE0001)]),
    "mul.wide.s16 {d}, {a}, {b};": ("whh", [((0xFFFF, 2), M - 2)]),
    "mad.lo.s32 {d}, {a}, {b}, {c};": ("wwww", [((3, 4, 5), 17), ((M - 1, 2, 1), M - 1)]),
    "mad.lo.s64 {d}, {a}, {b}, {c};": ("llll", [((3, L - 1, 5), 2)]),
    "mad.wide.s32 {d}, {a}, {b}, {c};": ("lwwl", [((M - 2, 3, 10), 4)]),
    "mad.wide.u32 {d}, {a}, {b}, {c};": ("lwwl", [((M - 1, 2, 1), 2 * M - 1)]),
    "div.s32 {d}, {a}, {b};": ("www", [((M - 7, 2), M - 3), ((7, 2), 3)]),
    "div.u32 {d}, {a}, {b};": ("www", [((M - 7, 2), (M - 7) // 2)]),
    "rem.s32 {d}, {a}, {b};": ("www", [((M - 7, 2), M - 1), ((7, 4), 3)]),
    "rem.u64 {d}, {a}, {b};": ("lll", [((2 * M + 5, M), 5)]),
    "min.s32 {d}, {a}, {b};": ("www", [((M - 1, 1), M - 1)]),
    "min.u32 {d}, {a}, {b};": ("www", [((M - 1, 1), 1)]),
    "max.s64 {d}, {a}, {b};": ("lll", [((L - 1, 1), 1)]),
    "abs.s32 {d}, {a};": ("ww", [((M - 5,), 5), ((5,), 5)]),
    "neg.s32 {d}, {a};": ("ww", [((5,), M - 5), ((0,), 0)]),
    "and.b32 {d}, {a}, {b};": ("www", [((0b1100, 0b1010), 0b1000)]),
    "or.b16 {d}, {a}, {b};": ("hhh", [((0b1100, 0b1010), 0b1110)]),
    "xor.b64 {d}, {a}, {b};": ("lll", [((0b1100, 0b1010), 0b0110)]),
    "not.b32 {d}, {a};": ("ww", [((0xF0F0F0F0,), 0x0F0F0F0F)]),
    "shl.b32 {d}, {a}, {b};": ("www", [((1, 31), 1 << 31), ((1, 32), 0), ((3, 31), 1 << 31)]),
    "shl.b64 {d}, {a}, {b};": ("llw", [((1, 63), 1 << 63), ((1, 64), 0)]),
    "shr.s32 {d}, {a}, {b};": ("www", [((M - 8, 2), M - 2), ((M - 8, 40), M - 1), ((8, 40), 0)]),
    "shr.u32 {d}, {a}, {b};": ("www", [((M - 8, 28), 15), ((M - 1, 32), 0)]),
    "shr.b16 {d}, {a}, {b};": ("hhw", [((0x8000, 15), 1)]),
    "bfi.b32 {d}, {a}, {b}, {c}, {e};": (
        "wwwww",
        [((0x5, 0xFFFFFFFF, 4, 4), 0xFFFFFF5F), ((0xAB, 0, 8, 8), 0xAB00), ((1, 7, 32, 4), 7)],
    ),
    "bfe.u32 {d}, {a}, {b}, {c};": ("wwww", [((0xABCD, 4, 8), 0xBC), ((0xABCD, 0, 32), 0xABCD)]),
    "lop3.b32 {d}, {a}, {b}, {c}, 0xE8;": ("wwww", [((0b1100, 0b1010, 0b0110), 0b1110)]),  # the majority
    "prmt.b32 {d}, {a}, {b}, {c};": (
        "wwww",
        [
            ((0x33221100, 0x77665544, 0x7531), 0x77553311),
            ((0x33221100, 0x77665544, 0x4440), 0x44444400),
            ((0x80, 0, 0x0008), 0x808080FF),
        ],
    ),
    "popc.b32 {d}, {a};": ("ww", [((0xF0F,), 8)]),
    "clz.b32 {d}, {a};": ("ww", [((1,), 31), ((0,), 32)]),
    "brev.b32 {d}, {a};": ("ww", [((1,), 1 << 31)]),
    "add.f32 {d}, {a}, {b};": ("www", [((f(1.0), f(2**-24)), f(1.0)), ((f(1.5), f(2.25)), f(3.75))]),
    "sub.f32 {d}, {a}, {b};": ("www", [((f(1.0), f(2**-24)), f(1 - 2**-24))]),
    "mul.f32 {d}, {a}, {b};": ("www", [((f(-3.0), f(0.5)), f(-1.5))]),
    # (1 + 2^-12)^2 - 1 = 2^-11 + 2^-24: the product alone would lose its last bit.
    "fma.rn.f32 {d}, {a}, {b}, {c};": ("wwww", [((f(1 + 2**-12), f(1 + 2**-12), f(-1)), f(2**-11 + 2**-24))]),
    "add.f64 {d}, {a}, {b};": ("lll", [((g(1.0), g(2**-53)), g(1.0)), ((g(1.0), g(2**-52)), g(1 + 2**-52))]),
    "add.rn.f64 {d}, {a}, {b};": ("lll", [((g(1.5), g(2.25)), g(3.75))]),
    "sub.f64 {d}, {a}, {b};": ("lll", [((g(1.0), g(2**-53)), g(1 - 2**-53))]),
    "mul.f64 {d}, {a}, {b};": ("lll", [((g(-3.0), g(0.5)), g(-1.5))]),
    # (1 + 2^-30)^2 - 1 = 2^-29 + 2^-60: the product alone would lose its last bit.
    "fma.rn.f64 {d}, {a}, {b}, {c};": ("llll", [((g(1 + 2**-30), g(1 + 2**-30), g(-1)), g(2**-29 + 2**-60))]),
    "neg.f64 {d}, {a};": ("ll", [((g(0.0),), 1 << 63), ((g(-2.5),), g(2.5))]),
    "div.rn.f32 {d}, {a}, {b};": ("www", [((f(1.0), f(3.0)), 0x3EAAAAAB)]),
    "sqrt.rn.f32 {d}, {a};": ("ww", [((f(2.0),), 0x3FB504F3)]),
    "min.f32 {d}, {a}, {b};": ("www", [((NAN, f(1.0)), f(1.0)), ((f(-1.0), f(1.0)), f(-1.0))]),
    "max.f32 {d}, {a}, {b};": ("www", [((f(2.0), NAN), f(2.0))]),
    "neg.f32 {d}, {a};": ("ww", [((f(0.0),), 0x80000000)]),
    "abs.f32 {d}, {a};": ("ww", [((f(-2.0),), f(2.0))]),
    "mov.b32 {d}, {a};": ("ww", [((0xDEADBEEF,), 0xDEADBEEF)]),
    "mov.b32 {d}, {{{a}, {b}}};": ("whh", [((0x1234, 0xABCD), 0xABCD1234)]),
    "mov.b64 {d}, {{{a}, {b}}};": ("lww", [((0x12345678, 0x9ABCDEF0), 0x9ABCDEF012345678)]),
    "mov.b32 {{{d}, _}}, {a};": ("hw", [((0xABCD1234,), 0x1234)]),
    "mov.b64 {{_, {d}}}, {a};": ("wl", [((0x9ABCDEF012345678,), 0x9ABCDEF0)]),
}


@pytest.mark.parametrize("instruction", CASES)
def test_an_instruction_gives_the_values_of_its_definition(instruction):
    widths, cases = CASES[instruction]
    assert evaluate(instruction, cases, widths) == [expected for _, expected in cases]


COMPARISONS = {
    "lt.s32": [((M - 1, 1), 1), ((1, M - 1), 0)],
    "lt.u32": [((M - 1, 1), 0), ((1, M - 1), 1)],
    "hs.u32": [((1, 1), 1), ((0, 1), 0)],
    "eq.b32": [((5, 5), 1), ((5, 6), 0)],
    "lt.f32": [((f(-1), f(1)), 1), ((NAN, f(1)), 0)],
    "ne.f32": [((f(1), f(2)), 1), ((NAN, f(1)), 0)],
    "neu.f32": [((f(1), f(1)), 0), ((NAN, f(1)), 1)],
    "geu.f32": [((f(0), f(1)), 0), ((NAN, NAN), 1), ((f(1), f(1)), 1)],
}


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_a_comparison_orders_by_its_type(comparison):
    cases = COMPARISONS[comparison]
    compared = f"setp.{comparison} p, {{a}}, {{b}};\n  selp.b32 {{d}}, 1, 0, p;"
    assert evaluate(compared, cases, "www") == [expected for _, expected in cases]


@pytest.mark.parametrize(("combined", "expected"), [("and", [1, 0]), ("or", [1, 1]), ("xor", [0, 1])])
def test_a_comparison_combines_with_a_negated_predicate(combined, expected):
    instruction = (
        "setp.gt.u32 q, {c}, 0;\n  not.pred q, q;\n"
        f"  setp.lt.{combined}.u32 p, {{a}}, {{b}}, !q;\n  selp.b32 {{d}}, 1, 0, p;"
    )
    cases = [((1, 2, 1), expected[0]), ((1, 2, 0), expected[1])]
    assert evaluate(instruction, cases, "wwww") == expected


def test_predicates_combine():
    instruction = (
        "setp.eq.u32 p, {a}, 1;\n  setp.eq.u32 q, {b}, 1;\n  and.pred %p1, p, q;\n  or.pred %p2, p, q;\n"
        "  xor.pred %p3, p, q;\n  not.pred %p4, p;\n  selp.b32 %r30, 1, 0, %p1;\n"
        "  selp.b32 %r31, 2, 0, %p2;\n"
        "  selp.b32 %r32, 4, 0, %p3;\n  selp.b32 %r33, 8, 0, %p4;\n  or.b32 %r30, %r30, %r31;\n"
        "  or.b32 %r32, %r32, %r33;\n  or.b32 {d}, %r30, %r32;"
    )
    cases = [((1, 1), 1 + 2), ((1, 0), 2 + 4), ((0, 1), 2 + 4 + 8), ((0, 0), 8)]
    assert evaluate(instruction, cases, "www") == [expected for _, expected in cases]


def test_a_guard_chooses_lanes():
    guarded = "setp.gt.u32 p, {a}, 5;\n  mov.u32 {d}, 1;\n  @p mov.u32 {d}, 2;\n  @!p add.s32 {d}, {d}, 10;"
    assert evaluate(guarded, [((6,), 2), ((5,), 11)], "ww") == [2, 11]


def test_lanes_that_branch_apart_meet_again():
    loop = (
        "mov.u32 {d}, 0;\n again:\n  add.s32 {d}, {d}, {a};\n  sub.s32 {a}, {a}, 1;\n"
        "  setp.gt.s32 p, {a}, 0;\n  @p bra again;"
    )
    assert evaluate(loop, [((4,), 10), ((1,), 1), ((10,), 55)], "ww") == [10, 1, 55]


def test_a_scope_hides_a_register_and_a_label():
    nested = (
        "mov.u32 %r30, 1;\n  {{\n  .reg .b32 %r30;\n  mov.u32 %r30, 5;\n  bra over;\n"
        "  mov.u32 {a}, 9;\n over:\n  }}\n"
        "  add.s32 {d}, {a}, %r30;"
    )
    assert evaluate(nested, [((1,), 2)], "ww") == [2]

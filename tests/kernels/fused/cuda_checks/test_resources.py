"""The resources of the compiled kernels per architecture, compared with the budget."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import pytest

from kswatch.db.schema.code_tables import Resource
from kswatch.errors import UnsupportedError, UsageError
from kswatch.kernels.fused.cuda import compile as compiler
from kswatch.kernels.fused.cuda.gpu_properties import GpuProperties
from kswatch.kernels.fused.cuda.nvcc import find_tool
from kswatch.kernels.fused.cuda.tile import FAMILIES
from kswatch.kernels.fused.cuda_checks import resources
from kswatch.kernels.fused.cuda_checks.budget import faults, read_budget
from kswatch.kernels.fused.cuda_checks.resources import KernelResources, count, listing
from kswatch.kernels.pattern import Pattern
from kswatch.kernels.problem import Problem
from tests.cpu_time import least_cpu_s

needs_nvcc = pytest.mark.skipif(
    find_tool("nvcc") is None or find_tool("nvdisasm") is None,
    reason="no nvcc and nvdisasm: pip install 'kswatch[static]'",
)

ROW = KernelResources(
    "a" * 64,
    "fp16 batch_last a tile",
    "sm_90",
    "tensor_cores",
    "none",
    126,
    0,
    4096,
    {"HMMA": 32, "LDGSTS": 4},
)
BUDGET = {
    "tensor_cores": {
        "registers": 128,
        "spill_bytes": 0,
        "contains": ["HMMA", "LDGSTS"],
        "lacks": ["STL"],
        "sm_75": {"contains": ["HMMA"]},
    }
}


FEW = [
    Problem(Pattern(6, 64, 64, 16), 25_088, "fp32", "batch_first"),  # CUDA cores
    Problem(Pattern(1, 128, 128, 3), 25_088, "fp16", "batch_first"),
    Problem(Pattern(1, 512, 512, 1), 25_088, "fp16", "batch_last"),  # wgmma, in every size
    Problem(Pattern(1, 128, 128, 3), 25_088, "fp64", "batch_first"),
    Problem(Pattern(1, 128, 128, 3), 25_088, "complex64", "batch_last"),
]
"""One for every family; all others are compiled in the slow tests."""
FEW_CHAINS = (resources.CHAINS[15], resources.CHAINS[-1])  # the second one in clusters


@needs_nvcc
@pytest.mark.timeout(900)
def test_every_family_is_within_its_budget_and_a_second_listing_is_cached():
    rows = listing([90], FEW, FEW_CHAINS)
    assert {row.family for row in rows} == {*FAMILIES, "chain", "chain_in_clusters"}
    assert not [str(fault) for fault in faults(rows, read_budget())]

    def read_again() -> None:
        compiler.cubin.cache_clear()
        gpu = GpuProperties(90)
        tiles = [*resources.tiles_of(FEW, gpu), *resources.chain_tiles_of(FEW_CHAINS, gpu)]
        assert [resources.row(tile, 90) for tile in tiles] == rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "compile_into", None)
        patch.setattr(resources, "disassemble", None)
        assert least_cpu_s(read_again) < 2


@needs_nvcc
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("architecture", [75, 80, 86, 89, 90, 100, 120])
def test_every_architecture_is_within_its_budget(architecture):
    assert not [str(fault) for fault in faults(listing([architecture]), read_budget())]


@pytest.mark.parametrize(("found", "message"), [("HMMA", ""), ("QMMA", ""), ("FFMA", "HMMA or QMMA 0")])
def test_one_of_several_mnemonics_is_enough(found, message):
    row = replace(ROW, instructions={found: 8, "LDGSTS": 4})
    either = {"tensor_cores": {"contains": ["LDGSTS"], "contains_one_of": ["HMMA", "QMMA"]}}
    assert message in "".join(map(str, faults([row], either))) and bool(message) == bool(
        faults([row], either)
    )


def test_a_row_within_its_budget_has_no_fault():
    assert faults([ROW], BUDGET) == []


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        ({"spill_bytes": 8}, "spill_bytes 8, allowed at most 0"),
        ({"registers": 168}, "registers 168, allowed at most 128"),
        ({"instructions": {"FFMA": 32, "LDGSTS": 4}}, "HMMA 0, allowed at least 1"),
        ({"instructions": {"HMMA": 32, "LDG": 4}}, "LDGSTS 0, allowed at least 1"),
        ({"instructions": {"HMMA": 32, "LDGSTS": 4, "STL": 2}}, "STL 2, allowed none"),
        ({"family": "new"}, "family new, allowed tensor_cores"),
    ],
)
def test_a_planted_fault_names_the_kernel_and_both_values(planted, message):
    found = faults([replace(ROW, **planted)], BUDGET)
    assert [str(fault) for fault in found] == [f"sm_90 fp16 batch_last a tile: {message}"]


def test_an_architecture_may_have_a_budget_of_its_own():
    turing = replace(ROW, architecture="sm_75", instructions={"HMMA": 32})
    assert faults([turing], BUDGET) == []


def test_a_precision_may_have_a_budget_of_its_own():
    budget = {"tensor_cores": {**BUDGET["tensor_cores"], "fp16": {"contains": ["DFMA"]}}}
    assert [fault.what for fault in faults([ROW], budget)] == ["DFMA"]
    assert faults([replace(ROW, kernel="bf16 batch_last a tile")], budget) == []


def test_a_budget_with_an_unknown_limit_is_refused(tmp_path):
    (tmp_path / "budget.toml").write_text("[cores]\nregister = 5\n")
    with pytest.raises(UsageError, match="register"):
        read_budget(tmp_path / "budget.toml")


def test_a_budget_with_a_syntax_error_is_refused(tmp_path):
    (tmp_path / "budget.toml").write_text("[cores")
    with pytest.raises(UsageError, match="cannot read the budget"):
        read_budget(tmp_path / "budget.toml")


def test_predicates_and_modifiers_do_not_change_a_mnemonic():
    sass = """
    .text.ks_product:
        /*0000*/                   LDC.64 R2, c[0x0][0x210] ;
        /*0010*/              @!P0 LDGSTS.E.BYPASS.128 [R5], [R2.64] ;
        /*0020*/             @!UP0 UMOV UR4, 0x1 ;
        /*10000*/                  HMMA.16816.F32 R4, R8, R12, R4 ;
        /*10010*/              @P1 BRA `(.L_x_1) ;
    """
    assert count(sass) == {"LDC": 1, "LDGSTS": 1, "UMOV": 1, "HMMA": 1, "BRA": 1}


def test_without_a_disassembler_the_cure_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "find_tool", lambda name: None)
    with pytest.raises(UnsupportedError, match=r"kswatch\[static\]"):
        resources.disassemble(b"code")


def test_a_row_has_the_columns_of_the_store():
    assert {field.name for field in fields(KernelResources)} == set(Resource.__table__.columns.keys())


def test_listing_needs_no_torch():
    program = "import sys, kswatch.kernels.fused.cuda_checks.budget; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.cuda.nvcc import PtxasReport
from kswatch.profiler.revisions import machine_code as module
from kswatch.profiler.revisions.machine_code import machine_code, without_addresses

SASS = """
.text.product:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/              @!P0 BRA `(.L_x_1) ;
"""


def test_addresses_are_left_out():
    assert without_addresses(SASS) == "MOV R1, c[0x0][0x28]\n.L_x_1:\n@!P0 BRA `(.L_x_1)"


def test_the_code_of_cached_kernels_is_found_by_its_hash(tmp_path, monkeypatch):
    monkeypatch.setenv("KSWATCH_CACHE", str(tmp_path))
    hashes = []
    for name in ("one", "two", "damaged"):
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        hashes.append(sha256)
        (tmp_path / f"cubin-{name}.cubin").write_bytes(name.encode() if name != "damaged" else b"other")
        facts = {"sha256": sha256, "nvcc": "13", "resources": asdict(PtxasReport(8, 0, 0, 0))}
        (tmp_path / f"cubin-{name}.json").write_text(json.dumps(facts))
    (tmp_path / "cubin-broken.json").write_text("[")

    def disassemble(code: bytes) -> str:
        if code == b"two":
            raise UnsupportedError("no nvdisasm")
        return SASS

    monkeypatch.setattr(module, "disassemble", disassemble)
    assert list(machine_code([*hashes, "f" * 64])) == hashes[:1]
    assert machine_code([]) == {}

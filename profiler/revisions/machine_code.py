"""The machine code of compiled kernels as text, from the cache that the static gate has just filled."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from kswatch.errors import UnsupportedError
from kswatch.kernels.fused.artifacts.cache import cache_folder
from kswatch.kernels.fused.cuda.compile import read_entry
from kswatch.kernels.fused.cuda_checks.resources import disassemble

_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;?\s*$")
_LABEL = re.compile(r"^\s*(\.L_[\w.]+:)\s*$")


def machine_code(code_hashes: Collection[str]) -> dict[str, str]:
    """The SASS of the cached kernels with these hashes, an instruction a line; others are left out."""
    found = {}
    for code_hash, path in _entries(code_hashes):
        entry = read_entry(path)
        if entry is not None and entry.sha256 == code_hash:
            with suppress(UnsupportedError):  # no nvdisasm here
                found[code_hash] = without_addresses(disassemble(entry.code))
    return found


def _entries(code_hashes: Collection[str]) -> Iterator[tuple[str, Path]]:
    """A cached cubin for each wanted hash, by the facts beside it."""
    left = set(code_hashes)
    for path in cache_folder().glob("cubin-*.json") if left else ():
        with suppress(OSError, ValueError, KeyError, TypeError):
            code_hash = json.loads(path.read_text())["sha256"]
            if code_hash in left:
                left.remove(code_hash)
                yield code_hash, path.with_suffix(".cubin")


def without_addresses(sass: str) -> str:
    """Instructions and labels alone: an added instruction would change the address of all that follow."""
    lines = (_INSTRUCTION.match(line) or _LABEL.match(line) for line in sass.splitlines())
    return "\n".join(found[1] for found in lines if found)

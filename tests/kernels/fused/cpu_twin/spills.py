"""Counts the register spills inside the multiplying loops of a built twin, from objdump's disassembly."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

FUNCTION = re.compile(r"^[0-9a-f]+ <(.*)>:$")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
TILE = re.compile(r"multiply_tile<(\w+), (\d+), (\d+), (\d+)>")
MULTIPLIES = re.compile(r"v(fn?madd\d+p[sd]|dpbf16ps)|v?mulp[sd]")
STACK = re.compile(r"\(%r[sb]p[,)]")

Tile = tuple[str, int, int, int]
"""Element type, rows, vectors, period: the arguments of `multiply_tile`."""
Line = tuple[int, str, str]
"""Address, mnemonic, operands."""


def disassembly(library: Path) -> str:
    """The listing of objdump with demangled names."""
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", str(library)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def spills(listing: str) -> dict[Tile, int]:
    """Vectors read from or written to the stack inside the innermost loops that multiply, for each tile."""
    return {tile: sum(map(spills_of_loop, loops(lines))) for tile, lines in functions(listing).items()}


def functions(listing: str) -> dict[Tile, list[Line]]:
    """The instructions of each register tile."""
    found: dict[Tile, list[Line]] = defaultdict(list)
    tile: Tile | None = None
    for text in listing.splitlines():
        if function := FUNCTION.match(text):
            named = TILE.search(function[1])
            tile = (named[1], int(named[2]), int(named[3]), int(named[4])) if named else None
        elif tile and (instruction := INSTRUCTION.match(text)):
            found[tile].append((int(instruction[1], 16), instruction[2], instruction[3]))
    return found


def loops(lines: list[Line]) -> Iterator[list[Line]]:
    """The innermost loops that multiply: from the target of a backward jump to the jump."""
    position = {address: index for index, (address, _, _) in enumerate(lines)}
    inner_end = -1
    for index, (_, mnemonic, operands) in enumerate(lines):
        target = re.match(r"([0-9a-f]+) <", operands) if mnemonic.startswith("j") else None
        first = position.get(int(target[1], 16), index) if target else index
        body = lines[first:index]
        if first < index and first > inner_end and any(MULTIPLIES.match(name) for _, name, _ in body):
            inner_end = index
            yield body


def spills_of_loop(lines: list[Line]) -> int:
    """Instructions with a vector register and an operand on the stack."""
    return sum(bool(STACK.search(operands)) and "mm" in operands for _, _, operands in lines)

"""Plain English in names: no retired name, no word of a private dialect, and no unreviewed new word."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.import_graph import FOLDERS, PACKAGE, ROOT

WORDS = ROOT / "tests" / "words"
VOCABULARY = ROOT / "docs" / "vocabulary.txt"
PROSE = re.compile(
    r"\b(told|tells?|telling|said|spoke|speaks|whoever|epitaph|goodbye|put down to)\b", re.IGNORECASE
)


def read(path: Path) -> set[str]:
    """The entries of a list: one a line, or several apart by spaces; `#` begins a comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {word for line in lines for word in line.partition("#")[0].split()}


BANNED = read(WORDS / "banned.txt")
RETIRED = read(WORDS / "retired_names.txt")
RETIRED_MODULES = read(WORDS / "retired_modules.txt")
CONTRACT = read(WORDS / "contract_names.txt")


@cache
def product_files() -> tuple[Path, ...]:
    """Every Python file of product code, once: the links in `kswatch/` are passed over."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return tuple(
        sorted([*found, *(ROOT / PACKAGE).glob("*.py"), *(ROOT / PACKAGE / "declared").glob("*.py")])
    )


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def words_of(name: str) -> list[str]:
    """The parts of an identifier in snake case, camel case or capitals."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+", name)]


def identifiers(module: ast.AST) -> Iterator[str]:
    """Names that a module gives: functions, classes, parameters, variables, attributes, aliases."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def public_names(module: ast.Module) -> Iterator[str]:
    """Functions, classes, methods, parameters and fields that other modules may use."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name
            yield from public_names(ast.Module(node.body, [])) if isinstance(node, ast.ClassDef) else ()
            yield from (arg.arg for arg in ast.walk(node) if isinstance(arg, ast.arg))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of strings and comments, with their numbers."""
    reader = io.StringIO(path.read_text(encoding="utf-8")).readline
    for token in tokenize.generate_tokens(reader):
        if token.type in (tokenize.STRING, tokenize.COMMENT):
            yield from enumerate(token.string.splitlines(), token.start[0])


def test_the_lists_are_as_long_as_they_should_be() -> None:
    assert len(BANNED) >= 60
    assert not BANNED & {word for name in ("latency_ms", "heartbeat", "outlier") for word in words_of(name)}


def test_no_retired_name_is_left() -> None:
    left = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in product_files()
        for name in identifiers(tree(path))
        if name in RETIRED
    }
    assert left == set()


def test_no_retired_module_name_is_left() -> None:
    assert [path for path in product_files() if path.stem in RETIRED_MODULES] == []


def test_no_identifier_holds_a_banned_word() -> None:
    left = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in product_files()
        for name in (path.stem, *identifiers(tree(path)))
        if name not in CONTRACT and BANNED.intersection(words_of(name))
    }
    assert left == set()


def test_no_text_of_product_code_holds_a_word_of_the_dialect() -> None:
    left = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in product_files()
        for number, line in prose(path)
        if PROSE.search(line) and not any(name in line for name in CONTRACT)
    ]
    assert left == []


def test_each_contract_name_is_still_in_use() -> None:
    used = {name for path in product_files() for name in identifiers(tree(path))}
    assert used >= CONTRACT, f"drop from contract_names.txt: {sorted(CONTRACT - used)}"


def test_each_word_of_a_public_name_is_in_the_vocabulary() -> None:
    used = {word for path in product_files() for name in public_names(tree(path)) for word in words_of(name)}
    known = read(VOCABULARY)
    assert sorted(used - known) == [], "new words in public names: add the plain ones to docs/vocabulary.txt"
    assert sorted(known - used) == [], (
        "no public name uses these any more: drop them from docs/vocabulary.txt"
    )


@pytest.mark.parametrize("name", ["told_plainly", "TokenDoor", "say_alive", "hot_whereabouts"])
def test_a_planted_name_of_the_dialect_is_found(name: str) -> None:
    assert BANNED.intersection(words_of(name))

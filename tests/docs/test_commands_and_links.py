"""What documents name exists: commands with their options, make targets, linked files, variables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from kswatch.cli import app
from reference_pages.generated import pages
from tests.docs.documents import DOCUMENTS, ROOT, command_lines, name

ALSO = [ROOT / "ci/README.md", ROOT / "kernels/heuristics/README.md", ROOT / "ARCHITECTURE.md"]
COMMAND: Any = typer.main.get_command(app)
CAPITALS = re.compile(r"[A-Z.]+$")
INTERNAL = ("KSWATCH_DASHBOARD_", "KSWATCH_ENDS_WITH_STDIN", "KSWATCH_OIDC_")
"""Variables that processes of kswatch set for each other, and a prefix."""


def options(command: Any) -> set[str]:
    return {text for one in command.params for text in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}


def unknown_words(line: str) -> list[str]:
    """The words of a line that its command does not have: a command, or an option."""
    command, faults = COMMAND, []
    for word in shlex.split(line.replace("...", ""))[1:]:
        below = getattr(command, "commands", {})
        if word.startswith("--"):
            faults += [] if word.split("=")[0] in options(command) else [word]
        elif word in below:
            command = below[word]
        elif below and command is COMMAND and not CAPITALS.match(word):
            return [word]
    return faults


@pytest.mark.parametrize("path", [*DOCUMENTS, *ALSO], ids=name)
def test_each_command_that_a_document_names_exists_with_its_options(path: Path) -> None:
    lines = [line for line in command_lines(path) if line.startswith("kswatch")]
    assert {line: found for line in lines if (found := unknown_words(line))} == {}


@pytest.mark.parametrize("line", ["kswatch nihgtly", "kswatch check --jsn", "kswatch db prune --older 3"])
def test_a_planted_command_that_does_not_exist_is_found(line: str) -> None:
    assert unknown_words(line)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_each_make_target_that_a_document_names_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {line.split()[1] for line in command_lines(path) if line.startswith("make")}
    assert named <= targets


def test_most_pages_name_commands_so_the_search_finds_some() -> None:
    assert sum(len(list(command_lines(path))) for path in DOCUMENTS) > 100


def anchors(path: Path) -> set[str]:
    """The places of a document that a link may lead to, as GitHub names its headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*DOCUMENTS, *ALSO, ROOT / "CHANGELOG.md"], ids=name)
def test_each_link_leads_to_a_file_or_to_a_page_of_the_site(path: Path) -> None:
    made = {ROOT / "docs" / uri for uri in pages()}
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target, place in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text):
        if ":" in target:
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists() or file in made, f"{name(path)} links to {target}"
        if place and file.suffix == ".md" and file.exists():
            assert place in anchors(file), f"{name(path)} links to {target}#{place}"


def test_each_variable_that_the_code_reads_is_documented() -> None:
    page = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    texts = [
        path.read_text(encoding="utf-8")
        for folder in ("kernels", "profiler", "db", "ci", "dashboard")
        for path in (ROOT / folder).rglob("*.py")
    ]
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "kswatch").glob("*.py")]
    read = {found for text in texts for found in re.findall(r"\bKSWATCH_[A-Z_]+", text)}
    missing = {one for one in read if not one.startswith(INTERNAL) and f"`{one}`" not in page}
    assert missing == set()
    documented = set(re.findall(r"`(KSWATCH_[A-Z_]+)`", page))
    prefixes = {one for one in documented if one.startswith("KSWATCH_OIDC_")}
    unknown = {one for one in documented - read - prefixes if one not in ("KSWATCH_GPU_RUNNERS",)}
    assert {one for one in unknown if not one.startswith("KSWATCH_DASHBOARD_")} <= {"KSWATCH_REFERENCE"}

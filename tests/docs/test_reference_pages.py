"""The pages that are written from the code hold all of it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table

import kswatch
from kswatch.configuration import TABLES
from kswatch.db.schema import tables as models  # noqa: F401  (fills the metadata)
from kswatch.db.schema.base import Base
from reference_pages import (
    commands,
    configuration,
    data_model,
    generated,
    json_outputs,
    python_api,
    repository_links,
    store,
)
from reference_pages.generated import pages
from tests.docs.documents import ROOT


def test_the_page_of_the_command_line_has_every_command_and_option() -> None:
    page = commands.page()
    for full_name, command in commands.commands():
        assert f"# {full_name}\n" in page
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name not in commands.SHELL_OPTIONS:
                assert parameter.opts[0] in page, (full_name, parameter.name)
    assert "```text\nkswatch check " in page, "examples are blocks"


def test_the_page_of_the_configuration_has_every_key_with_its_meaning() -> None:
    page = configuration.page()
    for table in TABLES.values():
        meanings = configuration.key_meanings(table)
        for key in fields(table):
            assert meanings[key.name], key.name
            assert f"| `{key.name}` |" in page
    assert "milliseconds" in page and "above 0 and at most" in page and '`"0 2 * * *"`' in page


def test_the_page_of_python_has_every_public_name() -> None:
    page = python_api.page()
    assert [name.rpartition(".")[2] for name in python_api.public_names()] == kswatch.__all__
    assert all(f"::: {name}\n" in page for name in python_api.public_names())
    named = {name.rpartition(".")[2] for name in python_api.TRANSFORMS}
    assert named == set(kswatch.transforms.__all__) - {"Transform"}


def test_the_page_of_the_store_has_every_table_and_column_and_reference() -> None:
    page = store.page()
    for name, table in Base.metadata.tables.items():
        section = page.partition(f"## {name} {{ #{name} }}\n")[2].partition("\n## ")[0]
        for column in table.columns:
            (row,) = re.findall(rf"^\| `{column.name}` \|.*$", section, re.MULTILINE)
            assert all(f"[{key.column.table.name}](#" in row for key in column.foreign_keys)


def test_the_picture_of_the_data_model_has_every_table_once_and_leads_to_it() -> None:
    picture = ElementTree.fromstring(data_model.svg(Base.metadata.tables))
    links = [link.attrib["href"].removeprefix("#") for link in picture.iter("a")]
    assert sorted(links) == sorted(Base.metadata.tables)
    drawn = data_model.references(Base.metadata.tables)
    assert len(list(picture.iter("path"))) == sum(map(len, drawn.values()))
    boxes = {(box.attrib["x"], box.attrib["y"]) for box in picture.iter("rect")}
    assert len(boxes) == len(links), "no box lies on another"


def test_a_reference_that_others_imply_is_not_drawn() -> None:
    planted = MetaData()
    for name, targets in {"device": [], "run": ["device"], "cell": ["run", "device"]}.items():
        keys = [Column(f"{one}_id", ForeignKey(f"{one}.id")) for one in targets]
        Table(name, planted, Column("id", Integer, primary_key=True), *keys)
    drawn = data_model.references(planted.tables)
    assert drawn == {"device": set(), "run": {"device"}, "cell": {"run"}}
    assert data_model.columns(drawn) == [["device"], ["run"], ["cell"]]


def test_each_example_of_json_is_of_a_command_that_has_it() -> None:
    assert set(json_outputs.EXAMPLES) <= set(json_outputs.with_json())
    assert len(json_outputs.EXAMPLES) >= 15


def test_keys_of_a_document_are_paths_and_known_values_go_before_null() -> None:
    document = [{"a": None, "b": {"c": [1, 2]}}, {"a": "x", "b": {"c": []}}]
    found = json_outputs.keys(document)
    assert found["[].a"] == ("text", '`"x"`') and found["[].b.c[]"] == ("integer", "`1`")


@pytest.mark.slow
def test_every_example_of_json_writes_a_document() -> None:
    written = json_outputs.execute(json_outputs.EXAMPLES)
    assert set(written) == set(json_outputs.EXAMPLES)
    assert {"run", "device", "kind", "state"} <= set(written["kswatch runs"][0])  # type: ignore[index]


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("docs/guides/alerts.md", "guides/alerts.md"),
        ("ci/README.md", "source/ci/README.md"),
        ("ci/check.py", "source/ci/check.py.md"),
        (".github/workflows/nightly.yml", "source/dot-github/workflows/nightly.yml.md"),
        ("dashboard/pictures/energy-wide-light.png", "source/dashboard/pictures/energy-wide-light.png"),
    ],
)
def test_a_file_of_the_repository_has_one_page_and_is_found_from_it(path: str, page: str) -> None:
    assert repository_links.page_of(path) == page
    assert repository_links.origin(page) == path


def test_links_out_of_the_documents_lead_to_pages_and_unknown_ones_are_refused() -> None:
    kept = "[levels](../change_points.md#kinds) [paper](https://arxiv.org) [here](#x)"
    text = f"[check](../../ci/check.py) {kept}"
    assert repository_links.rewritten(text, "guides/alerts.md") == f"[check](../source/ci/check.py.md) {kept}"
    with pytest.raises(FileNotFoundError, match="guides/alerts.md links to"):
        repository_links.rewritten("[gone](../../ci/gone.py)", "guides/alerts.md")


def test_the_page_of_the_gallery_leads_to_it_where_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generated, "GALLERY", tmp_path)
    assert "gallery/index.html" not in generated.gallery_page()
    (tmp_path / "index.html").write_text("<svg/>")
    assert "(gallery/index.html)" in generated.gallery_page()


def test_the_navigation_has_every_page_once() -> None:
    def leaves(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        below = node.values() if isinstance(node, dict) else node
        return [leaf for one in below for leaf in leaves(one)]  # type: ignore[union-attr]

    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    shown = leaves(yaml.safe_load(text)["nav"])
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert len(shown) == len(set(shown))
    assert set(shown) == written | set(pages())

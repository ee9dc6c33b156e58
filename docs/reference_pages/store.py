"""The page of the store: tables and columns of the SQLAlchemy models, with the meanings of schema.md."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Column, Table

from kswatch.db.schema import tables as models
from kswatch.db.schema.base import Base
from reference_pages.data_model import svg
from reference_pages.tables import code, markdown_table

DESCRIPTIONS = Path(models.__file__).with_name("schema.md")
HEAD = ("column", "type", "key", "null", "meaning")


def page() -> str:
    """The page as Markdown."""
    text = DESCRIPTIONS.read_text(encoding="utf-8")
    about, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    written = [_section(*section.split("\n", 1)) for section in sections]
    introduction = about.partition("\n")[2].strip()
    return f"# The store\n\n{introduction}\n\n{_picture()}\n\n" + "\n".join(written)


def _picture() -> str:
    """The data model, with its caption."""
    caption = (
        "A line leads from a table to one that it refers to. Lines that others imply are left out: a "
        "measurement names its device, too, as its run does."
    )
    return f'<div class="data-model">{svg(Base.metadata.tables)}</div>\n\n{caption}'


def _section(name: str, text: str) -> str:
    about = text.partition("| column |")[0].strip()
    meanings = dict(re.findall(r"^\| (\w+) \| (.*?) \|$", text, re.MULTILINE))
    table = Base.metadata.tables[name]
    rows = [_row(column, meanings.get(column.name, "").replace("\\|", "|")) for column in table.columns]
    return f"## {name} {{ #{name} }}\n\n{about}\n\n{markdown_table(HEAD, rows)}{_indexes(table)}"


def _row(column: Column[object], meaning: str) -> tuple[str, ...]:
    targets = sorted(key.column.table.name for key in column.foreign_keys)
    keys = ["primary"] if column.primary_key else []
    keys += [f"[{target}](#{target})" for target in targets]
    return code(column.name), _kind(column), ", ".join(keys), "yes" if column.nullable else "", meaning


def _kind(column: Column[object]) -> str:
    kind = str(column.type).lower()
    return {"datetime": "time", "float": "double", "blob": "bytes", "bigint": "integer"}.get(kind, kind)


def _indexes(table: Table) -> str:
    """The indexes, a line each; empty where there is none."""
    named = sorted(table.indexes, key=lambda index: str(index.name))
    lines = [
        f"- {'unique ' if index.unique else ''}index of {', '.join(code(one.name) for one in index.columns)}"
        for index in named
        if index.columns
    ]
    return "\n" + "\n".join(lines) + "\n" if lines else ""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kswatch.db.schema import tables as models
from kswatch.db.schema.base import Base

PAGE = (Path(models.__file__).parent / "schema.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("table", Base.metadata.tables)
def test_the_page_describes_exactly_the_columns_of_every_table(table):
    described = re.findall(r"^\| (\w+) \| \S", SECTIONS[table], re.MULTILINE)[1:]
    assert described == [column.name for column in Base.metadata.tables[table].columns]


def test_the_page_describes_exactly_the_existing_tables():
    assert set(SECTIONS) == set(Base.metadata.tables)

"""Servers that are set up otherwise: another encoding, another style of dates, no connection left."""

from __future__ import annotations

import pytest
import sqlalchemy

from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from kswatch.errors import StoreError
from kswatch.profiler import diagnostics
from tests.conftest import Postgres
from tests.db.sample_records import NOON, night


def database(postgres: Postgres, name: str, encoding: str) -> str:
    """The URL of a new database with this encoding."""
    with postgres.engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        connection.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    return postgres.server.get_uri(name)


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, MDY"])
def test_times_are_read_whatever_the_style_of_dates(postgres: Postgres, style: str) -> None:
    url = database(postgres, "styled", "UTF8")
    with postgres.engine.connect() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE styled SET datestyle TO {style}")
    store = Store.open(url)
    night(store, {"fused": 1.0})
    assert [run.started_at for run in queries.runs(store)] == [NOON]
    store.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "UTF8"])
def test_a_text_comes_back_or_is_refused_with_the_cure(postgres: Postgres, encoding: str) -> None:
    store = Store.open(database(postgres, f"encoded_{encoding.lower()}", encoding))
    night(store, {"fused": 1.0}, suite="größe")
    assert [run.suite for run in queries.runs(store)] == ["größe"]
    if encoding == "LATIN1":
        with pytest.raises(StoreError, match="ENCODING 'UTF8'"):
            night(store, {"fused": 1.0}, suite="測定")
    else:
        night(store, {"fused": 1.0}, suite="測定")
    store.close()


@pytest.mark.parametrize(("encoding", "number"), [("SQL_ASCII", 0), ("LATIN1", 1), ("UTF8", 0)])
def test_doctor_names_an_encoding_that_lacks_characters(
    postgres: Postgres, encoding: str, number: int
) -> None:
    url = database(postgres, f"examined_{encoding.lower()}", encoding)
    Store.open(url).close()
    found = [check for check in diagnostics.store(url) if not check.ok]
    assert [check.what.startswith(f"its encoding is {encoding}") for check in found] == [True] * number


def test_a_server_without_connections_is_not_told_as_absent(postgres: Postgres) -> None:
    url = database(postgres, "crowded", "UTF8")
    Store.open(url).close()
    with postgres.engine.connect() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS guest")
        connection.exec_driver_sql("CREATE ROLE guest SUPERUSER LOGIN")
        connection.exec_driver_sql("ALTER ROLE guest NOSUPERUSER CONNECTION LIMIT 0")
    guest = sqlalchemy.make_url(url).set(username="guest").render_as_string(hide_password=False)
    with pytest.raises(StoreError, match="no connection left"):
        Store.open(guest)

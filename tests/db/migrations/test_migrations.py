from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import make_url

from kswatch.db.backend.engine import WRITES, open_engine
from kswatch.db.migrations.migrate import configuration, migrate
from kswatch.db.migrations.revisions import HEAD, REVISIONS
from kswatch.db.schema.base import Base


@pytest.fixture
def migrated(empty_url) -> Iterator[Engine]:
    """A store that was upgraded step by step."""
    url = make_url(empty_url)
    engine = create_engine(url.set(drivername="postgresql+psycopg") if "postgres" in empty_url else url)
    with engine.begin() as connection:
        migrate(connection)
    yield engine
    engine.dispose()


def test_a_migrated_store_matches_the_models(migrated):
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_new_store_equals_a_migrated_one(migrated, backend, request, tmp_path):
    path = tmp_path / "new.db"
    new = open_engine(
        f"sqlite:///{path}" if backend == "sqlite" else request.getfixturevalue("postgres").create()
    )
    assert schema_of(new) == schema_of(migrated)
    new.dispose()


def schema_of(engine: Engine) -> list[tuple[object, ...]]:
    """Tables with their columns, keys and indexes as the database reports them, in a fixed order."""
    inspector = inspect(engine)
    readers = (
        inspector.get_columns,
        inspector.get_indexes,
        inspector.get_foreign_keys,
        inspector.get_unique_constraints,
    )
    return [
        (name, str(inspector.get_pk_constraint(name)), *(sorted(map(plain, read(name))) for read in readers))
        for name in sorted(inspector.get_table_names())
    ]


def plain(column: dict[str, object]) -> str:
    options = {name: str(value) for name, value in (column.pop("dialect_options", None) or {}).items()}
    return str(sorted(column.items())) + str(sorted(options.items()))


def test_the_list_of_revisions_matches_the_files():
    scripts = ScriptDirectory.from_config(configuration())
    assert scripts.get_current_head() == HEAD
    assert [step.revision for step in scripts.walk_revisions()] == list(reversed(REVISIONS))


def test_every_migration_can_be_downgraded(empty_url):
    engine = open_engine(empty_url)
    with engine.connect().execution_options(**WRITES) as connection, connection.begin():
        command.downgrade(configuration(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()


WIDENED = ("problem", "canary", "run_summary", "speed_of_light", "heuristic_score", "heuristic_verdict")


def test_a_store_of_0009_gets_wider_precisions_and_keeps_its_rows_and_keys(empty_url):
    engine = open_engine(empty_url)
    with engine.connect().execution_options(**WRITES) as connection, connection.begin():
        command.downgrade(configuration(connection), "0009")
        before = {name: text_of(connection, name) for name in WIDENED}
        insert_problem(connection, 1, "fp32")
        command.upgrade(configuration(connection), "0010")
        assert precisions(connection) == ["fp32"]
        insert_problem(connection, 2, "complex64")
        for name in WIDENED:
            lengths = {one["name"]: getattr(one["type"], "length", None) for one in columns(connection, name)}
            assert lengths["precision"] == 12, name
            # tables that are stored in the order of their key stay so
            assert ("WITHOUT ROWID" in text_of(connection, name)) == ("WITHOUT ROWID" in before[name]), name
        command.downgrade(configuration(connection), "0009")
        assert precisions(connection) == ["fp32"]
    engine.dispose()


def columns(connection, table):
    return inspect(connection).get_columns(table)


def text_of(connection, table: str) -> str:
    """The statement that made a table, in SQLite."""
    if connection.dialect.name != "sqlite":
        return ""
    return connection.execute(
        text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": table}
    ).scalar()


def insert_problem(connection, number: int, precision: str) -> None:
    statement = "INSERT INTO problem VALUES (:id, 1, 2, 3, 4, 5, :precision, 'batch_first', '')"
    connection.execute(text(statement), {"id": number, "precision": precision})


def precisions(connection) -> list[str]:
    return [one for (one,) in connection.execute(text("SELECT precision FROM problem ORDER BY id"))]

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.engine import make_url

from kswatch.db.backend.engine import WRITES, open_engine
from kswatch.db.migrations import HEAD, REVISIONS
from kswatch.db.migrations.migrate import configuration, migrate
from kswatch.db.schema.base import Base


@pytest.fixture
def migrated(empty_url) -> Iterator[Engine]:
    """A store that took every step, as one that is older than the last of them."""
    url = make_url(empty_url)
    engine = create_engine(url.set(drivername="postgresql+psycopg") if "postgres" in empty_url else url)
    with engine.begin() as connection:
        migrate(connection)
    yield engine
    engine.dispose()


def test_a_migrated_store_is_what_the_models_say(migrated):
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_new_store_is_what_a_migrated_one_is(migrated, backend, request, tmp_path):
    path = tmp_path / "new.db"
    new = open_engine(
        f"sqlite:///{path}" if backend == "sqlite" else request.getfixturevalue("postgres").create()
    )
    assert told(new) == told(migrated)
    new.dispose()


def told(engine: Engine) -> list[tuple[object, ...]]:
    """Tables with their columns, keys and indexes as the database tells them, in no order of theirs."""
    looked = inspect(engine)
    asked = (looked.get_columns, looked.get_indexes, looked.get_foreign_keys, looked.get_unique_constraints)
    return [
        (name, str(looked.get_pk_constraint(name)), *(sorted(map(plain, ask(name))) for ask in asked))
        for name in sorted(looked.get_table_names())
    ]


def plain(said: dict[str, object]) -> str:
    options = {name: str(value) for name, value in (said.pop("dialect_options", None) or {}).items()}
    return str(sorted(said.items())) + str(sorted(options.items()))


def test_the_list_of_revisions_is_that_of_the_files():
    scripts = ScriptDirectory.from_config(configuration())
    assert scripts.get_current_head() == HEAD
    assert [step.revision for step in scripts.walk_revisions()] == list(reversed(REVISIONS))


def test_every_step_can_be_taken_back(empty_url):
    engine = open_engine(empty_url)
    with engine.connect().execution_options(**WRITES) as connection, connection.begin():
        command.downgrade(configuration(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    engine.dispose()

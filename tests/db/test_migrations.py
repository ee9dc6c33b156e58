from __future__ import annotations

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from db.columns import Base
from db.migrations import HEAD, REVISIONS
from db.migrations.migrate import configuration
from db.opening import WRITES, open_engine


def test_a_migrated_store_is_what_the_models_say(empty_url):
    engine = open_engine(empty_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


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

"""Alembic's entry point for every step: our models, on the connection of `kswatch.db.migrations.migrate`."""

from alembic import context

from kswatch.db.schema import tables as models
from kswatch.db.schema.base import Base

assert models.Measurement.metadata is Base.metadata  # the import above fills it


def run_migrations() -> None:
    """Run the steps inside the caller's transaction, which also holds the lock against other processes."""
    connection = context.config.attributes["connection"]
    if connection is None:
        raise RuntimeError("migrations run through db.migrations.migrate.migrate(connection)")
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    context.run_migrations()


run_migrations()

"""Alembic, driven from Python: there is no alembic.ini and no command of its own to learn."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration for our migrations; `env.py` takes the connection from it."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to a revision inside the connection's transaction."""
    command.upgrade(configuration(connection), revision)


def write_migration(connection: Connection, message: str, revision: str) -> None:
    """Write a new migration from the difference between the models and the store, for an author to edit."""
    command.revision(configuration(connection), message, autogenerate=True, rev_id=revision)

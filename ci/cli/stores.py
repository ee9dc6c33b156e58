"""Opening the configured store for the commands of ci."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.db.store import Store


def open_store(ctx: typer.Context) -> Store:
    """The configured store, which must exist."""
    from kswatch.db.store import Store

    return Store.open(services(ctx).database_url, create=False)


def open_store_if_exists(ctx: typer.Context) -> Store | None:
    """The configured store; None where it does not exist."""
    from kswatch.db.backend.engine import store_exists

    return open_store(ctx) if store_exists(services(ctx).database_url) else None

"""`kswatch db`: look after the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kswatch.db.cli.spinner import waiting
from kswatch.errors import StoreError

app = typer.Typer(
    help="Look after the store: its schema, its health, its size.",
    epilog="Examples: kswatch db check · kswatch db stats --json · kswatch db backup FILE",
    no_args_is_help=True,
)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def upgrade(ctx: typer.Context) -> None:
    """Bring the store's schema to the newest; every command does it by itself, too.

    \b
    Example:
      kswatch db upgrade
    """  # noqa: D301  (backslash b keeps the lines apart)
    from kswatch.db.migrations import HEAD
    from kswatch.db.store import Store

    store = Store.open(ctx.obj["database_url"])
    typer.echo(f"store {store.name} has schema {HEAD}, the newest")


@app.command()
def check(ctx: typer.Context) -> None:
    """Check that the store's file is whole and that nothing refers to what is not there.

    \b
    Example:
      kswatch db check
    """  # noqa: D301
    from kswatch.db.maintenance.stats_and_prune import faults
    from kswatch.db.store import Store

    store = Store.open(ctx.obj["database_url"], create=False)
    with waiting(f"reading all of {store.name}"):
        found = faults(store)
    if found:
        raise StoreError(
            f"store {store.name} is damaged ({'; '.join(found[:3])}); "
            "`kswatch export --all FILE`, move it away, and import FILE into a new one"
        )
    typer.echo(f"store {store.name} is whole")


@app.command()
def stats(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Show how large the store is, by table, and how much the newest nights added.

    \b
    Example:
      kswatch db stats --json
    """  # noqa: D301
    from kswatch.db.json_text import to_json_text
    from kswatch.db.maintenance.stats_and_prune import stats as stats_of
    from kswatch.db.store import Store

    store = Store.open(ctx.obj["database_url"], create=False)
    with waiting(f"counting the rows of {store.name}"):
        found = stats_of(store)
    if as_json:
        typer.echo(to_json_text(found))
        return
    typer.echo(f"store {found.store}, schema {found.schema}, {found.bytes / 1e6:.1f} MB")
    for table, rows in found.rows.items():
        size = f"{found.bytes_by_table[table] / 1e6:>10.1f} MB" if found.bytes_by_table else ""
        typer.echo(f"{rows:>12,} rows {size}  {table}")
    for night in found.growth:
        size = f", about {night.bytes / 1e6:.1f} MB" if night.bytes is not None else ""
        typer.echo(f"the newest night of {night.device} (run {night.run}) added {night.rows:,} rows{size}")


@app.command()
def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new file.")],
) -> None:
    """Copy a SQLite store to a file while others write to it; the copy is checked.

    \b
    Example:
      kswatch db backup /backups/kswatch-$(date +%F).db
    """  # noqa: D301
    from kswatch.db.maintenance.backup import backup as back_up
    from kswatch.db.store import Store

    store = Store.open(ctx.obj["database_url"], create=False)
    with waiting(f"copying {store.name}"):
        size = back_up(store, file)
    typer.echo(f"store {store.name}: {size / 1e6:.1f} MB copied to {file}, which is whole")


@app.command()
def prune(
    ctx: typer.Context,
    older_than_days: Annotated[int, typer.Option(min=1, help="Age of the runs whose samples may go.")],
) -> None:
    """Delete the raw samples of old runs; medians, intervals and everything else stay.

    \b
    Example:
      kswatch db prune --older-than-days 180
    """  # noqa: D301
    from datetime import UTC, datetime, timedelta

    from kswatch.db.maintenance.stats_and_prune import prune_samples
    from kswatch.db.store import Store

    store = Store.open(ctx.obj["database_url"], create=False)
    pruned = prune_samples(store, datetime.now(UTC) - timedelta(days=older_than_days))
    typer.echo(f"store {store.name}: let the samples of {pruned} measurements go")

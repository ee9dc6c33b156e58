"""`kswatch db`: look after the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kswatch.db.cli.options import MOST_DAYS, JsonOption
from kswatch.db.cli.spinner import waiting
from kswatch.errors import StoreError
from kswatch.services import services

app = typer.Typer(
    help="Maintain the store: upgrade, check, statistics, backup, pruning.",
    epilog="Examples: kswatch db check · kswatch db stats --json · kswatch db backup FILE",
    no_args_is_help=True,
)


@app.command()
def upgrade(ctx: typer.Context) -> None:
    """Upgrade the store to the newest schema; commands that write do this automatically.

    \b
    Example:
      kswatch db upgrade
    """  # noqa: D301  (backslash b keeps the lines apart)
    from kswatch.db.migrations.revisions import HEAD
    from kswatch.db.store import Store

    store = Store.open(services(ctx).database_url)
    typer.echo(f"store {store.name} has schema {HEAD}, the newest")


@app.command()
def check(ctx: typer.Context) -> None:
    """Check the integrity of the store: its file, and that every reference has its target.

    \b
    Example:
      kswatch db check
    """  # noqa: D301
    from kswatch.db.maintenance.stats_and_prune import damage_in_words, faults
    from kswatch.db.store import Store

    store = Store.open(services(ctx).database_url, create=False)
    with waiting(f"reading all of {store.name}"):
        found = faults(store)
    if found:
        raise StoreError(damage_in_words(store.name, found))
    typer.echo(f"store {store.name} is intact")


@app.command()
def stats(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Show the size of the store by table, and what the newest nights added.

    \b
    Example:
      kswatch db stats --json
    """  # noqa: D301
    from kswatch.db.json_text import to_json_text
    from kswatch.db.maintenance.stats_and_prune import stats as stats_of
    from kswatch.db.store import Store

    store = Store.open(services(ctx).database_url, create=False)
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
    file: Annotated[Path, typer.Argument(help="New file to write.")],
    artifacts: Annotated[
        bool, typer.Option("--artifacts", help="Also the files that runs keep, as reports of ncu.")
    ] = False,
) -> None:
    """Back up a SQLite store while it is in use, and check the copy.

    \b
    Example:
      kswatch db backup /backups/kswatch-$(date +%F).db
    """  # noqa: D301
    from kswatch.db.maintenance.backup import backup as back_up
    from kswatch.db.store import Store

    store = Store.open(services(ctx).database_url, create=False)
    with waiting(f"copying {store.name}"):
        size = back_up(store, file, artifacts)
    typer.echo(f"store {store.name}: {size / 1e6:.1f} MB copied to {file}; integrity check passed")


@app.command()
def prune(
    ctx: typer.Context,
    older_than_days: Annotated[
        int,
        typer.Option(min=1, max=MOST_DAYS, help="Minimum age of the runs whose samples and artifacts go."),
    ],
) -> None:
    """Delete the raw samples and artifacts of old runs; medians, intervals and everything else are kept.

    \b
    Example:
      kswatch db prune --older-than-days 180
    """  # noqa: D301
    from datetime import UTC, datetime, timedelta

    from kswatch.db.artifacts.stored import prune_artifacts
    from kswatch.db.maintenance.stats_and_prune import prune_samples
    from kswatch.db.store import Store

    store = Store.open(services(ctx).database_url, create=False)
    before = datetime.now(UTC) - timedelta(days=older_than_days)
    pruned, files = prune_samples(store, before), prune_artifacts(store, before)
    kept = f" and {files} artifacts" if files else ""
    typer.echo(f"store {store.name}: deleted samples of {pruned} measurements{kept}")

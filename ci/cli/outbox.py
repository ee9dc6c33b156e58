"""`kswatch alerts outbox` and `send`: notifications that wait for delivery, and delivering them now."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from kswatch.ci.cli.alerts import alerts_app
from kswatch.ci.cli.stores import open_store
from kswatch.db.cli.options import JsonOption
from kswatch.errors import ConfigurationError


@alerts_app.command()
def outbox(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Include delivered notifications.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the notifications that were not delivered yet, with the time of the next attempt.

    \b
    Examples:
      kswatch alerts outbox
      kswatch alerts outbox --all --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.notifications.channels import channels
    from kswatch.ci.notifications.sender import outbox_lines
    from kswatch.db.alerts.outbox import QUEUED, SENDING, messages
    from kswatch.db.json_text import to_json_text

    with closing(open_store(ctx)) as store:
        found = messages(store, None if everything else (QUEUED, SENDING))
    known, faults = channels()
    if as_json:
        typer.echo(to_json_text(found))
    else:
        typer.echo(outbox_lines(found, known))
    for fault in faults:
        typer.echo(f"kswatch: {fault}", err=True)


@alerts_app.command()
def send(ctx: typer.Context) -> None:
    """Deliver all waiting notifications now, before their next attempt is due.

    The channels are the Apprise URLs in KSWATCH_NOTIFY; `nightly` and `serve` deliver on their own.

    \b
    Examples:
      KSWATCH_NOTIFY="json://hook.example/kswatch" kswatch alerts send
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.notifications.channels import CHANNELS, channels
    from kswatch.ci.notifications.sender import deliver_pending
    from kswatch.db.alerts.outbox import retry_now

    found, faults = channels()
    if not found and not faults:
        raise ConfigurationError(
            f"no channel is named: set {CHANNELS} to Apprise URLs, separated by spaces "
            "(github.com/caronc/apprise lists them)"
        )
    with closing(open_store(ctx)) as store:
        retry_now(store)
        result = deliver_pending(store)
    typer.echo(f"{result.sent} sent, {result.waiting} wait")
    if result.faults:
        raise ConfigurationError("; ".join(result.faults))

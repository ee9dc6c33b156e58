"""`kswatch alerts outbox` and `send`: what is still to be told, and telling it now."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from kswatch.ci.cli.alerts import JsonOption, alerts_app, open_store
from kswatch.errors import ConfigurationError


@alerts_app.command()
def outbox(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Those that were sent, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What is still to be told: messages that no channel took yet, and when each is tried again.

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
    """Send what waits in the outbox now, without waiting for its next try.

    The channels are the Apprise URLs in KSWATCH_NOTIFY; `nightly` and `serve` send by themselves.

    \b
    Examples:
      KSWATCH_NOTIFY="json://hook.example/kswatch" kswatch alerts send
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.notifications.channels import CHANNELS, channels
    from kswatch.ci.notifications.sender import tell
    from kswatch.db.alerts.outbox import try_now

    found, faults = channels()
    if not found and not faults:
        raise ConfigurationError(
            f"no channel is named: set {CHANNELS} to Apprise URLs, separated by spaces "
            "(github.com/caronc/apprise lists them)"
        )
    with closing(open_store(ctx)) as store:
        try_now(store)
        told = tell(store)
    typer.echo(f"{told.sent} sent, {told.waiting} wait")
    if told.faults:
        raise ConfigurationError("; ".join(told.faults))

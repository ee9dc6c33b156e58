"""`kswatch alerts`: list and show alerts, decide on them, and deliver their notifications."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kswatch.ci.cli.stores import open_store
from kswatch.ci.config import CiConfig
from kswatch.db.cli.options import LARGEST_NUMBER, MOST_DAYS, JsonOption, UserOption
from kswatch.db.user_name import user_name
from kswatch.errors import ConfigurationError
from kswatch.services import services

if TYPE_CHECKING:
    from kswatch.db.store import Store

alerts_app = typer.Typer(
    invoke_without_command=True,
    help="List, show, acknowledge, mute and resolve alerts.",
    epilog='Examples: kswatch alerts --all · kswatch alerts show 7 · kswatch alerts ack 7 --reason "looking"',
)

OnlyDeviceOption = Annotated[
    str | None, typer.Option(help="Only this device: UUID, unique prefix, model name or cpu.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Include ended alerts.")]
AlertArgument = Annotated[
    int, typer.Argument(min=1, max=LARGEST_NUMBER, help="Number of the alert, from `kswatch alerts`.")
]
ReasonOption = Annotated[str | None, typer.Option(help="Reason, shown with the alert.")]
RequiredReasonOption = Annotated[str, typer.Option("--reason", help="Reason, shown with the alert.")]
DaysOption = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_DAYS, help="Only alerts opened in this number of days before now."),
]
SeenOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=LARGEST_NUMBER,
        help="Version of the alert that you saw; the command is refused if it has changed since.",
    ),
]


def alerts(
    ctx: typer.Context,
    device: OnlyDeviceOption = None,
    everything: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """List, show, acknowledge, mute and resolve alerts.

    \b
    Examples:
      kswatch alerts                                      # live alerts
      kswatch alerts --all --json
      kswatch alerts show 7
      kswatch alerts ack 7
      kswatch alerts mute 7 --until 2030-01-31 --reason "waiting for the driver"
      kswatch alerts accept 7 --reason "the price of the fix in 1234abcd"
      kswatch alerts false-alarm 7 --reason "the cooler was blocked"
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.formats.alert_text import alert_lines
    from kswatch.db.alerts.lifecycle import LIVE
    from kswatch.db.json_text import to_json_text
    from kswatch.db.machine_reads.rows import alert_rows
    from kswatch.db.queries.basic import alerts, devices, find_device

    if ctx.invoked_subcommand is not None:
        return
    with closing(open_store(ctx)) as store:
        if as_json:
            typer.echo(to_json_text(alert_rows(store, device, everything)))
            return
        device_id = find_device(store, device).id if device is not None else None
        found = alerts(store, None if everything else LIVE, device_id)
        known = {one.id: one for one in devices(store)}
        lines = [alert_lines(found, known), *alert_summary_lines(ctx, store)]
    typer.echo("\n".join(lines))


alerts_app.callback()(alerts)
alerts_app.command("list", help="List alerts, newest first.")(alerts)


def alert_summary_lines(ctx: typer.Context, store: Store) -> list[str]:
    """The precision of all alerts, and stale mutes, as lines."""
    from kswatch.ci.formats.alert_text import precision_lines
    from kswatch.db.alerts.precision import alert_precision, stale_mutes

    after = timedelta(days=services(ctx).table(CiConfig).stale_mute_days)
    return precision_lines(alert_precision(store), stale_mutes(store, datetime.now(UTC), after))


@alerts_app.command("precision")
def precision_(ctx: typer.Context, days: DaysOption = None, as_json: JsonOption = False) -> None:
    """Show the precision of confirmed alerts: the true positives among the reviewed ones.

    \b
    Examples:
      kswatch alerts precision
      kswatch alerts precision --days 90 --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.formats.alert_text import precision_lines
    from kswatch.db.alerts.precision import alert_precision
    from kswatch.db.json_text import to_json_text

    since = datetime.now(UTC) - timedelta(days=days) if days else None
    with closing(open_store(ctx)) as store:
        found = alert_precision(store, since)
    if as_json:
        typer.echo(to_json_text(vars(found) | {"precision": found.share}))
    else:
        typer.echo("\n".join(precision_lines(found, ())) or "no confirmed alert has been reviewed yet")


@alerts_app.command()
def show(ctx: typer.Context, alert: AlertArgument, as_json: JsonOption = False) -> None:
    """Show one alert: explanation, differences and history."""
    from kswatch.ci.formats.alert_text import alert_page
    from kswatch.db.bisections.stored import suspects_of
    from kswatch.db.json_text import to_json_text
    from kswatch.db.machine_reads.rows import alert_row
    from kswatch.db.queries.basic import alert as find
    from kswatch.db.queries.basic import alert_events, devices

    with closing(open_store(ctx)) as store:
        found, events = find(store, alert), alert_events(store, alert)
        known = {one.id: one for one in devices(store)}
        suspects = suspects_of(store, (alert,)).get(alert)
    if as_json:
        typer.echo(to_json_text(alert_row(found, known[found.device_id], suspects) | {"events": events}))
    else:
        typer.echo(alert_page(found, events, known))


def _add_decision(name: str, action: str, help: str, *, needs_reason: bool = False) -> None:
    """Register a command that decides on an alert and takes nothing but a reason."""
    default = ... if needs_reason else None
    reason_option = typer.Option(default, "--reason", help="Reason, shown with the alert.")

    @alerts_app.command(name, help=help)
    def decide(
        ctx: typer.Context,
        alert: AlertArgument,
        reason: str | None = reason_option,
        user: UserOption = None,
        seen_version: SeenOption = None,
    ) -> None:
        _act(ctx, alert, action, user, reason, seen_version)


_add_decision("ack", "acknowledge", "Acknowledge an alert.")


@alerts_app.command()
def assign(
    ctx: typer.Context,
    alert: AlertArgument,
    to: Annotated[str, typer.Option(help="New assignee.")],
    reason: ReasonOption = None,
    user: UserOption = None,
    seen_version: SeenOption = None,
) -> None:
    """Assign an alert."""
    _act(ctx, alert, "assign", user, reason, seen_version, assigned_to=to)


@alerts_app.command()
def mute(
    ctx: typer.Context,
    alert: AlertArgument,
    until: Annotated[datetime, typer.Option(help="Mute until this time (UTC).")],
    reason: RequiredReasonOption,
    user: UserOption = None,
    seen_version: SeenOption = None,
) -> None:
    """Mute an alert until a given time."""
    _act(ctx, alert, "mute", user, reason, seen_version, muted_until=until.replace(tzinfo=UTC))


_add_decision("accept", "accept", "Accept the change as the new baseline.", needs_reason=True)
_add_decision(
    "false-alarm",
    "false_alarm",
    "Mark an alert as a false positive; its nights count as history again.",
    needs_reason=True,
)
_add_decision("resolve", "resolve", "Resolve an alert without waiting for three clean nights.")
_add_decision("reopen", "reopen", "Reopen a closed alert.", needs_reason=True)


def _act(
    ctx: typer.Context,
    alert_id: int,
    action: str,
    user: str | None,
    reason: str | None,
    seen_version: int | None,
    **details: Any,  # noqa: ANN401  (values that the action needs)
) -> None:
    from kswatch.db.alerts.lifecycle import act
    from kswatch.db.queries.basic import alert

    with closing(open_store(ctx)) as store:
        seen = alert(store, alert_id).version if seen_version is None else seen_version
        act(store, alert_id, action, user or user_name(), reason, seen, **details)
        now = alert(store, alert_id)
    typer.echo(f"alert {alert_id} is {now.state} (version {now.version})")


@alerts_app.command()
def outbox(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Include delivered notifications.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the notifications not yet delivered, with the time of the next attempt.

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
            f"no channel is configured: set {CHANNELS} to Apprise URLs, separated by spaces "
            "(github.com/caronc/apprise lists them)"
        )
    with closing(open_store(ctx)) as store:
        retry_now(store)
        result = deliver_pending(store)
    typer.echo(f"{result.sent} sent, {result.waiting} waiting")
    if result.faults:
        raise ConfigurationError("; ".join(result.faults))

"""`kswatch alerts`: list them, look at one, and decide on it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kswatch.db.store import Store

alerts_app = typer.Typer(
    invoke_without_command=True,
    help="List alerts, look at one, and decide on it.",
    epilog='Examples: kswatch alerts --all · kswatch alerts show 7 · kswatch alerts ack 7 --reason "looking"',
)

DeviceOption = Annotated[
    str | None, typer.Option(help="Only this device: UUID, unique prefix or model name.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Those that have ended too.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
AlertArgument = Annotated[int, typer.Argument(help="The alert's number, as `kswatch alerts` lists it.")]
WhoOption = Annotated[
    str | None, typer.Option(help="Who decides; by default the name you are logged in with.")
]
ReasonOption = Annotated[str | None, typer.Option(help="Why; others will ask.")]
WhyOption = Annotated[str, typer.Option("--reason", help="Why; others will ask.")]
DaysOption = Annotated[int | None, typer.Option(help="Only alerts opened in the last so many days.")]
SeenOption = Annotated[
    int | None, typer.Option(help="The version of the alert that you looked at; refused if it changed since.")
]


@alerts_app.callback()
def alerts(
    ctx: typer.Context,
    device: DeviceOption = None,
    everything: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """List alerts, look at one, and decide on it.

    \b
    Examples:
      kswatch alerts                                      # those that live
      kswatch alerts --all --json
      kswatch alerts show 7
      kswatch alerts ack 7
      kswatch alerts mute 7 --until 2030-01-31 --reason "waiting for the driver"
      kswatch alerts accept 7 --reason "the price of the fix in 1234abcd"
      kswatch alerts false-alarm 7 --reason "the cooler was blocked"
    """  # noqa: D301  (\b keeps the lines of the examples)
    if ctx.invoked_subcommand is None:
        _list(ctx, device, everything, as_json)


@alerts_app.command("list")
def list_(
    ctx: typer.Context,
    device: DeviceOption = None,
    everything: AllOption = False,
    as_json: JsonOption = False,
) -> None:
    """List alerts, the newest first."""
    _list(ctx, device, everything, as_json)


def _list(ctx: typer.Context, device: str | None, everything: bool, as_json: bool) -> None:
    from kswatch.ci.formats.alert_text import alert_lines, alert_rows
    from kswatch.db.alerts.lifecycle import LIVE
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.basic import alerts, devices, find_device

    with closing(open_store(ctx)) as store:
        device_id = find_device(store, device).id if device is not None else None
        found = alerts(store, None if everything else LIVE, device_id)
        known = {one.id: one for one in devices(store)}
        beside = [] if as_json else record_of_alerts(ctx, store)
    if as_json:
        typer.echo(to_json_text(alert_rows(found, known)))
    else:
        typer.echo("\n".join([alert_lines(found, known), *beside]))


def record_of_alerts(ctx: typer.Context, store: Store) -> list[str]:
    """What a reader should know of all alerts together: precision, and stale mutes."""
    from kswatch.ci.formats.alert_text import record_lines
    from kswatch.db.alerts.precision import precision, stale_mutes

    after = timedelta(days=ctx.obj["config"]["ci"].stale_mute_days)
    return record_lines(precision(store), stale_mutes(store, datetime.now(UTC), after))


@alerts_app.command("precision")
def precision_(ctx: typer.Context, days: DaysOption = None, as_json: JsonOption = False) -> None:
    """How often the detector was right: real among those confirmed alerts on which the word is spoken.

    \b
    Examples:
      kswatch alerts precision
      kswatch alerts precision --days 90 --json
    """  # noqa: D301  (\b keeps the lines of the examples)
    from kswatch.ci.formats.alert_text import record_lines
    from kswatch.db.alerts.precision import precision
    from kswatch.db.json_text import to_json_text

    since = datetime.now(UTC) - timedelta(days=days) if days else None
    with closing(open_store(ctx)) as store:
        found = precision(store, since)
    if as_json:
        typer.echo(to_json_text(vars(found) | {"precision": found.share}))
    else:
        typer.echo("\n".join(record_lines(found, ())) or "no confirmed alert was decided on yet")


@alerts_app.command()
def show(ctx: typer.Context, alert: AlertArgument, as_json: JsonOption = False) -> None:
    """One alert: what it says, what differs, and everything that happened to it."""
    from kswatch.ci.formats.alert_text import alert_page, alert_rows
    from kswatch.db.json_text import to_json_text
    from kswatch.db.queries.basic import alert as find
    from kswatch.db.queries.basic import alert_events, devices

    with closing(open_store(ctx)) as store:
        found, events = find(store, alert), alert_events(store, alert)
        known = {one.id: one for one in devices(store)}
    if as_json:
        typer.echo(to_json_text(alert_rows([found], known)[0] | {"events": events}))
    else:
        typer.echo(alert_page(found, events, known))


@alerts_app.command()
def ack(
    ctx: typer.Context,
    alert: AlertArgument,
    reason: ReasonOption = None,
    who: WhoOption = None,
    seen_version: SeenOption = None,
) -> None:
    """Say that you have seen it and take care."""
    _act(ctx, alert, "acknowledge", who, reason, seen_version)


@alerts_app.command()
def assign(
    ctx: typer.Context,
    alert: AlertArgument,
    to: Annotated[str, typer.Option(help="Whose it is now.")],
    reason: ReasonOption = None,
    who: WhoOption = None,
    seen_version: SeenOption = None,
) -> None:
    """Give it to somebody."""
    _act(ctx, alert, "assign", who, reason, seen_version, assigned_to=to)


@alerts_app.command()
def mute(
    ctx: typer.Context,
    alert: AlertArgument,
    until: Annotated[datetime, typer.Option(help="When it speaks again, in UTC.")],
    reason: WhyOption,
    who: WhoOption = None,
    seen_version: SeenOption = None,
) -> None:
    """Keep it quiet until a date."""
    _act(ctx, alert, "mute", who, reason, seen_version, muted_until=until.replace(tzinfo=UTC))


@alerts_app.command()
def accept(
    ctx: typer.Context,
    alert: AlertArgument,
    reason: WhyOption,
    who: WhoOption = None,
    seen_version: SeenOption = None,
) -> None:
    """Take the new level as the level from now on."""
    _act(ctx, alert, "accept", who, reason, seen_version)


@alerts_app.command("false-alarm")
def false_alarm(
    ctx: typer.Context,
    alert: AlertArgument,
    reason: WhyOption,
    who: WhoOption = None,
    seen_version: SeenOption = None,
) -> None:
    """Say that nothing had changed; its nights count as history again."""
    _act(ctx, alert, "false_alarm", who, reason, seen_version)


@alerts_app.command()
def resolve(
    ctx: typer.Context,
    alert: AlertArgument,
    reason: ReasonOption = None,
    who: WhoOption = None,
    seen_version: SeenOption = None,
) -> None:
    """Say that it is over, without waiting for three good nights."""
    _act(ctx, alert, "resolve", who, reason, seen_version)


@alerts_app.command()
def reopen(
    ctx: typer.Context,
    alert: AlertArgument,
    reason: WhyOption,
    who: WhoOption = None,
    seen_version: SeenOption = None,
) -> None:
    """Take a decision back."""
    _act(ctx, alert, "reopen", who, reason, seen_version)


def _act(
    ctx: typer.Context,
    alert_id: int,
    action: str,
    who: str | None,
    reason: str | None,
    seen_version: int | None,
    *,
    assigned_to: str | None = None,
    muted_until: datetime | None = None,
) -> None:
    from kswatch.db.alerts.lifecycle import act
    from kswatch.db.queries.basic import alert

    with closing(open_store(ctx)) as store:
        seen = alert(store, alert_id).version if seen_version is None else seen_version
        person = who or _user()
        act(
            store,
            alert_id,
            action,
            person,
            reason,
            seen,
            assigned_to=assigned_to,
            muted_until=muted_until,
        )
        now = alert(store, alert_id)
    typer.echo(f"alert {alert_id} is {now.state} (version {now.version})")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        return "unknown user"


def open_store(ctx: typer.Context) -> Store:
    """The configured store, which must exist."""
    from kswatch.db.store import Store

    return Store.open(ctx.obj["database_url"], create=False)

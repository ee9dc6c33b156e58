from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from kswatch.ci.check import judge
from kswatch.ci.cli.check import app
from kswatch.ci.config import CiConfig
from kswatch.ci.notifications.channels import channels
from kswatch.ci.notifications.sender import deliver_pending, notification_worker
from kswatch.db.alerts import outbox
from kswatch.db.alerts.lifecycle import act, record_clean_run
from kswatch.db.queries.basic import alerts
from kswatch.errors import ConfigurationError
from tests.ci.nights import START, Nights
from tests.ci.notifications.webhook import Webhook
from tests.kswatch.sample_services import sample_services


@pytest.fixture
def webhook(monkeypatch):
    with Webhook().serving() as serving:
        monkeypatch.setenv("KSWATCH_NOTIFY", serving.url)
        yield serving


@pytest.fixture
def nights(store) -> Nights:
    return Nights(store)


@pytest.fixture
def regressed(store, nights, shared):
    """A night on which fused was confirmed slower: one alert, and news of it."""

    def write(into):
        written = Nights(into)
        written.quiet(6)
        written.night({"fused": 1.2})
        judge(into, None, CiConfig(), now=START)
        return written.count, written.rng

    nights.count, nights.rng = shared.fill(store, "a regression that was judged, and its news", write)
    (found,) = alerts(store)
    assert found.confirmed
    return found


def states(store) -> list[tuple[str, str]]:
    return [(one.channel, one.state) for one in outbox.messages(store)]


def test_a_notification_is_stored_with_its_alert(store, regressed):
    assert states(store) == [("*", "queued")]


def test_a_channel_receives_a_new_alert_once_with_its_details(store, regressed, webhook):
    assert deliver_pending(store).sent == 1
    assert deliver_pending(store).sent == 0
    (message,) = webhook.got
    assert message["title"] == f"kswatch alert 1 opened: {regressed.title}"
    assert "Tesla Planted" in message["message"] and "last good run 6" in message["message"]
    assert states(store) == [("*", "addressed"), ("json", "sent")]


def test_judging_again_sends_nothing_twice(store, regressed, webhook):
    deliver_pending(store)
    judge(store, None, CiConfig(), now=START)
    assert deliver_pending(store).sent == 0


def test_a_channel_that_is_down_is_tried_again_with_growing_pauses_until_it_is_up(store, regressed, webhook):
    webhook.up = False
    now = datetime.now(UTC)
    pauses = []
    for _ in range(4):
        result = deliver_pending(store, lambda at=now: at)
        assert (result.sent, len(result.faults), result.waiting) == (0, 1, 1)
        assert deliver_pending(store, lambda at=now: at).faults == ()  # not before its time
        waiting = outbox.messages(store, ("queued",))[0]
        pauses.append((waiting.next_try_at - now).total_seconds())
        now = waiting.next_try_at
    assert pauses == [30.0, 60.0, 120.0, 240.0]
    webhook.up = True
    assert deliver_pending(store, lambda at=now: at).sent == 1
    assert len(webhook.got) == 1 and webhook.tries == 5


def test_a_failing_channel_is_retried_every_six_hours(store, regressed, webhook):
    deliver_pending(store)
    (message,) = outbox.messages(store, ("sent",))
    old = outbox.MessageRow(**{**vars(message), "attempts": 40})
    now = datetime.now(UTC)
    assert outbox.mark_failed(store, old, "down", now) - now == timedelta(hours=6)


def test_the_reason_of_a_failed_channel_does_not_reveal_its_secret(store, regressed, webhook, capfd, caplog):
    webhook.up = False
    (fault,) = deliver_pending(store).faults
    assert fault.startswith("json: it answered HTTP 503; next try ")
    (message,) = outbox.messages(store, ("queued",))
    assert message.error == "it answered HTTP 503"
    output = capfd.readouterr()
    assert "s3cret" not in fault + message.error + output.out + output.err + caplog.text


def test_nothing_listens(store, regressed, monkeypatch, capfd):
    monkeypatch.setenv("KSWATCH_NOTIFY", "json://u:s3cret@127.0.0.1:9/")
    (fault,) = deliver_pending(store).faults
    assert "could not be reached" in fault and "s3cret" not in fault + capfd.readouterr().err


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nonsense-with-s3cret", "has no scheme"),
        (
            "slak://s3cretA/s3cretB/s3cretC",
            "begins with slak://, which Apprise does not know; did you mean slack://",
        ),
        ("slack://s3cret", "is no slack:// URL in Apprise's form"),
    ],
)
def test_a_url_with_a_typo_is_named_by_number_and_scheme_and_the_others_are_notified(
    store, regressed, webhook, monkeypatch, capfd, url, problem
):
    monkeypatch.setenv("KSWATCH_NOTIFY", f"{webhook.url} {url}")
    found = deliver_pending(store)
    assert found.sent == 1
    (fault,) = found.faults
    assert fault.startswith("channel 2 in KSWATCH_NOTIFY") and problem in fault
    output = capfd.readouterr()
    assert "s3cret" not in fault + output.out + output.err


def test_no_secret_is_ever_in_the_store(store, regressed, webhook, tmp_path):
    webhook.up = False
    deliver_pending(store)
    content = b"".join(path.read_bytes() for path in tmp_path.glob("kswatch.db*"))
    assert b"s3cret" not in content and b"127.0.0.1" not in content


def test_two_channels_of_one_kind_have_distinct_names(store, regressed, webhook, monkeypatch):
    monkeypatch.setenv("KSWATCH_NOTIFY", f"{webhook.url} {webhook.url}2")
    assert deliver_pending(store).sent == 2
    assert states(store)[1:] == [("json", "sent"), ("json 2", "sent")]


def test_a_notification_waits_for_a_channel_but_not_for_ever(store, regressed, webhook, monkeypatch):
    monkeypatch.delenv("KSWATCH_NOTIFY")
    assert deliver_pending(store).sent == 0
    monkeypatch.setenv("KSWATCH_NOTIFY", webhook.url)
    with store.writing() as session:
        from kswatch.db.schema.tables import Message

        session.query(Message).update({"queued_at": datetime.now(UTC) - timedelta(days=8)})
    assert deliver_pending(store).sent == 0 and states(store) == [("*", "expired")]


def test_a_muted_alert_sends_nothing_until_its_mute_ends(store, nights, webhook):
    nights.quiet(6)
    nights.night({"fused": 1.2})
    judge(store, None, CiConfig(), now=START)
    deliver_pending(store)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    act(store, 1, "mute", "ann", "known", 1, muted_until=tomorrow)
    nights.night({"fused": 1.2})
    judge(store, None, CiConfig(), now=START)
    assert deliver_pending(store).sent == 0
    judge(store, None, CiConfig(), now=tomorrow)
    assert deliver_pending(store).sent == 1
    assert webhook.got[-1]["title"].startswith("kswatch alert 1 no longer muted")


def test_an_alert_that_resolves_by_itself_is_notified_once_more(store, regressed, nights, webhook):
    deliver_pending(store)
    for run_id in nights.quiet(3):
        record_clean_run(store, 1, run_id)
    assert deliver_pending(store).sent == 1
    assert webhook.got[-1]["title"].startswith("kswatch alert 1 resolved")


def test_two_judges_of_one_night_open_one_alert_and_send_it_once(store, regressed):
    from kswatch.db.alerts.lifecycle import NewAlert, open_alert

    new = NewAlert(1, 9, "slower", "code", "energy_mj", "bmm", "bmm slower", confirmed=True)
    new = NewAlert(**{**vars(new), "device_id": regressed.device_id, "run_id": regressed.opened_run_id})
    assert open_alert(store, new) == open_alert(store, new)
    assert sum(one.channel == "*" for one in outbox.messages(store)) == 2


SENDER = """
import sys
from kswatch.ci.notifications.sender import deliver_pending
from kswatch.db.store import Store
deliver_pending(Store.open(sys.argv[1], create=False))
"""


def test_a_sender_killed_before_the_channel_answered_loses_nothing(store, regressed, webhook):
    """The one case in which a channel may get a message twice: taken, and the sender dead before it knew."""
    webhook.may_answer.clear()
    sender = subprocess.Popen([sys.executable, "-c", SENDER, str(store.engine.url)], env={**os.environ})
    assert webhook.arrived.wait(60)
    os.kill(sender.pid, signal.SIGKILL)
    sender.wait()
    webhook.may_answer.set()
    assert states(store)[1:] == [("json", "sending")]
    assert deliver_pending(store).sent == 0  # the claim holds: another sender may be alive
    later = datetime.now(UTC) + timedelta(seconds=outbox.CLAIM_S + 1)
    assert deliver_pending(store, lambda: later).sent == 1
    assert [one["title"] for one in webhook.got] == [webhook.got[0]["title"]] * 2


def test_a_notification_of_a_killed_judge_is_sent_by_the_next_delivery(store, regressed, webhook):
    # judging and sending are separate: the alert is stored, but not sent yet
    assert webhook.got == []
    with notification_worker(str(store.engine.url), every_s=0.05):
        assert webhook.arrived.wait(20)
    assert len(webhook.got) == 1


def test_a_message_claimed_by_one_sender_is_not_claimed_by_another(store, regressed, webhook):
    found, _ = channels()
    outbox.address_notifications(store, [one.name for one in found], lambda news: "body")
    now = datetime.now(UTC)
    assert outbox.claim(store, ["json"], now) is not None
    assert outbox.claim(store, ["json"], now) is None


def run(store, *arguments: str):
    result = CliRunner().invoke(app, ["alerts", *arguments], obj=sample_services(str(store.engine.url)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_outbox_is_listed_and_sent_on_request(store, regressed, webhook):
    webhook.up = False
    with pytest.raises(ConfigurationError, match="HTTP 503"):
        run(store, "send")
    assert "1 tries: it answered HTTP 503  alert 1 opened" in run(store, "outbox").stdout
    webhook.up = True
    assert run(store, "send").stdout == "1 sent, 0 waiting\n"
    assert run(store, "outbox").stdout == "the outbox is empty\n"
    assert "sent" in run(store, "outbox", "--all").stdout


def test_sending_without_a_channel_names_the_environment_variable(store, regressed, monkeypatch):
    monkeypatch.delenv("KSWATCH_NOTIFY", raising=False)
    with pytest.raises(ConfigurationError, match="set KSWATCH_NOTIFY"):
        run(store, "send")

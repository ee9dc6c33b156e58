from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from kswatch.ci.check import judge
from kswatch.ci.config import CiConfig
from kswatch.ci.notifications.sender import deliver_pending
from kswatch.db.alerts import outbox
from kswatch.db.alerts.lifecycle import act
from kswatch.db.queries.basic import alert_events, alerts, verdicts
from kswatch.db.store import Store
from kswatch.errors import UsageError
from tests.ci.nights import START, Nights
from tests.ci.notifications.webhook import Webhook


@pytest.fixture
def postgres_store(postgres):
    store = Store.open(postgres.emptied())
    yield store
    store.close()


@pytest.fixture
def regressed(postgres_store):
    nights = Nights(postgres_store)
    nights.quiet(6)
    nights.night({"fused": 1.2})
    return nights


def test_a_regression_opens_and_recovers_in_postgresql_too(postgres_store, regressed):
    for news in ("opened", None):
        found = judge(postgres_store, None, CiConfig(), now=START)
        assert found.exit_code == 1
        assert [change.transition for change in found.judgements[0].alerts] == [news]
    assert len(verdicts(postgres_store, 7)) == 24
    for _ in range(3):
        regressed.night()
        assert judge(postgres_store, None, CiConfig(), now=START).exit_code == 0
    assert [one.state for one in alerts(postgres_store)] == ["resolved"]


def test_two_concurrent_judges_of_a_night_open_one_alert_in_postgresql_too(postgres_store, regressed):
    codes = []

    def judge_it(store: Store) -> None:
        codes.append(judge(store, None, CiConfig(), now=START).exit_code)

    at_once(judge_it, [Store(postgres_store.engine) for _ in range(2)])
    assert codes == [1, 1] and len(alerts(postgres_store)) == 1


def test_a_notification_is_sent_once_and_retried_in_postgresql_too(postgres_store, regressed, monkeypatch):
    judge(postgres_store, None, CiConfig(), now=START)
    with Webhook().serving() as webhook:
        monkeypatch.setenv("KSWATCH_NOTIFY", webhook.url)
        webhook.up = False
        change = deliver_pending(postgres_store)
        assert (change.sent, len(change.faults), change.waiting) == (0, 1, 1)
        webhook.up = True
        assert deliver_pending(postgres_store).sent == 0  # not before its time
        later = datetime.now(UTC) + timedelta(seconds=outbox.FIRST_RETRY_S + 1)
        assert deliver_pending(postgres_store, lambda: later).sent == 1
        assert deliver_pending(postgres_store, lambda: later).sent == 0
    assert len(webhook.got) == 1


def test_two_concurrent_senders_send_it_once_in_postgresql_too(postgres_store, regressed, monkeypatch):
    judge(postgres_store, None, CiConfig(), now=START)
    with Webhook().serving() as webhook:
        monkeypatch.setenv("KSWATCH_NOTIFY", webhook.url)
        stores = [Store(postgres_store.engine) for _ in range(4)]
        at_once(lambda store: deliver_pending(store), stores)
    assert len(webhook.got) == 1
    assert [one.state for one in outbox.messages(postgres_store)] == ["addressed", "sent"]


def test_of_two_concurrent_decisions_on_an_alert_one_is_refused_in_postgresql_too(postgres_store, regressed):
    judge(postgres_store, None, CiConfig(), now=START)
    assert_one_of_two_is_refused(postgres_store)


def test_of_two_concurrent_decisions_on_an_alert_one_is_refused(store, nights):
    nights.quiet(6)
    nights.night({"fused": 1.2})
    judge(store, None, CiConfig(), now=START)
    assert_one_of_two_is_refused(store)


def assert_one_of_two_is_refused(store: Store) -> None:
    (seen,) = alerts(store)
    refused = []

    def resolve(who: str) -> None:
        try:
            act(Store(store.engine), seen.id, "resolve", who, None, seen.version)
        except UsageError as error:
            refused.append(str(error))

    at_once(resolve, ["ann", "bob"])
    (message,) = refused
    assert "has changed since it was shown" in message
    assert [one.action for one in alert_events(store, seen.id)] == ["opened", "resolve"]


def at_once(act_on, arguments) -> None:
    """Call it for each thing in a thread of its own, all let go together."""
    together = threading.Barrier(len(arguments))

    def run(argument) -> None:
        together.wait()
        act_on(argument)

    threads = [threading.Thread(target=run, args=(argument,)) for argument in arguments]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

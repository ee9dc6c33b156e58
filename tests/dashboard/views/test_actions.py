"""Actions on the pages: by which users, under which name, and their record in the store."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.auth import current_user
from kswatch.dashboard.auth.sessions import User
from kswatch.dashboard.auth.settings import Tokens
from kswatch.dashboard.auth.token_auth import TokenAuth
from kswatch.dashboard.data import server_settings
from kswatch.db.alerts import lifecycle
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.events import request_events
from kswatch.db.store import Store
from tests.dashboard.data.simulated_queue import fill_queue
from tests.dashboard.simulated_store import NASTY, Plan, fill

Opened = Callable[..., AppTest]
SMALL = Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1)


class FixedUser(TokenAuth):
    """One user, signed in whatever the cookies hold."""

    def __init__(self, user: User | None) -> None:
        super().__init__(Tokens("read" * 9, "act" * 9))
        self.user = user

    def authenticate(self, cookies: object) -> User | None:
        return self.user


@pytest.fixture
def opened(opened: Opened, own_url: str) -> Opened:
    """Opens one page on the test's own store, as a link with these choices would."""
    return lambda path, **choices: opened(path, own_url, **choices)


@pytest.fixture
def filled(own_url: str) -> Store:
    store = Store.open(own_url)
    fill(store, SMALL)
    fill_queue(store)
    return store


@pytest.fixture
def provider() -> Iterator[FixedUser]:
    """A provider whose user the test sets."""
    fixed = FixedUser(None)
    current_user.set_provider(fixed)
    yield fixed
    current_user._provider = None


def text_of(page: AppTest) -> str:
    elements = [*page.subheader, *page.markdown, *page.caption, *page.code, *page.warning, *page.error]
    return "\n".join(str(element.value) for element in elements).replace("\\", "")


def keys(page: AppTest) -> set[str | None]:
    return {button.key for button in page.button}


@pytest.mark.parametrize("user", [pytest.param(None, marks=pytest.mark.slow), User("reader", may_act=False)])
def test_a_user_who_may_not_act_is_offered_no_action(
    filled: Store, opened: Opened, provider: FixedUser, user: User | None
) -> None:
    provider.user = user
    for path, choices in (("alerts", {}), ("runs", {"run": "2"}), ("runs", {"view": "queue"})):
        page = opened(path, **choices)
        assert not keys(page) & {"act_1", "again_2", "cancel_1", "cancel_2"}, path
    assert opened("ask", pattern="6,64,64,1").button(key="ask").disabled


def test_an_action_after_signing_out_is_refused(filled: Store, opened: Opened, provider: FixedUser) -> None:
    provider.user = User("engineer", may_act=True)
    page = opened("ask", pattern="6,64,64,1")
    before = len(queries.requests(filled))
    provider.user = None
    page.button(key="ask").click().run()
    assert len(queries.requests(filled)) == before


def test_a_signed_in_user_acts_under_that_name(filled: Store, opened: Opened, provider: FixedUser) -> None:
    provider.user = User("engineer", may_act=True)
    page = opened("alerts")
    assert page.text_input(key="who_1").disabled
    page.button(key="act_1").click().run()
    assert queries.alert_events(filled, 1)[-1].who == "engineer"
    page = opened("ask", pattern="6,64,64,1")
    page.button(key="ask").click().run()
    assert queries.requests(filled)[0].asked_by == "engineer"
    page = opened("runs", view="queue")
    page.button(key="cancel_2").click().run()
    assert queries.request(filled, 2).message == "cancelled by engineer"
    acts = request_events(filled, [2, queries.requests(filled)[0].id])
    assert [(act.who, act.action) for act in acts] == [
        ("a user", "ask"),
        ("engineer", "ask"),
        ("engineer", "cancel"),
    ]


@pytest.mark.parametrize(
    "action", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("mute", "accept")), "false_alarm"]
)
def test_an_action_that_needs_a_reason_is_refused_without_one(
    filled: Store, opened: Opened, action: str
) -> None:
    page = opened("alerts")
    page.segmented_control(key="alert_action").select(action).run()
    page.text_input(key="who_1").input("engineer")
    page.button(key="act_1").click().run()
    assert "a reason is required" in text_of(page)
    assert queries.alert(filled, 1).state == "open"
    page.text_input(key="why_1").input(NASTY)
    page.button(key="act_1").click().run()
    assert queries.alert(filled, 1).state == lifecycle.ACTIONS[action].to_state
    assert queries.alert_events(filled, 1)[-1].reason == NASTY


def test_a_link_to_an_alert_that_ended_opens_it(filled: Store, opened: Opened) -> None:
    lifecycle.act(filled, 1, "false_alarm", "engineer", "the fan was off", 1)
    page = opened("alerts", alert="1")
    assert page.segmented_control(key="choice_tab").value == "ended"
    assert "false alarm" in text_of(page)
    assert "Alert precision: not enough reviewed alerts (1 of at least 10)" in text_of(page)


def test_a_link_to_a_run_older_than_the_list_opens_it(
    filled: Store, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kswatch.dashboard.views.runs.MOST_RUNS", 1)
    page = opened("runs", run="1", view="one")
    assert page.selectbox(key="choice_run").value == "1"


def test_a_run_shows_its_log_and_can_be_requested_again(filled: Store, opened: Opened) -> None:
    page = opened("runs", run="2")
    assert NASTY in page.code[0].value
    page.button(key="again_2").click().run()
    again = queries.requests(filled)[0]
    assert (again.suite, again.device, again.kind) == ("nightly", "sim-a100-0000", "ad_hoc")


def test_a_run_in_progress_shows_its_progress_and_log(filled: Store, opened: Opened) -> None:
    filled.reopen_run(2)
    page = opened("runs", run="2")
    assert "simulated night 1" in page.code[0].value


def test_the_queue_shows_workers_and_the_time_left(filled: Store, opened: Opened) -> None:
    page = opened("runs", view="queue")
    table = page.dataframe[-1].value
    assert list(table["state"]) == ["alive", "stopped"]
    assert "About 9 min until the queue is done; no estimate for 1 request" in text_of(page)
    assert "No coordinator is running requests" not in text_of(page)


def test_a_queue_without_a_coordinator_warns(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    fill_queue(store)
    from kswatch.db.coordination import workers

    workers.mark_stopped(store, "simulated-host:1")
    assert "No coordinator is running requests" in text_of(opened("ask"))


def test_a_request_above_the_limits_is_refused_in_a_sentence(filled: Store, opened: Opened) -> None:
    patterns = "\n".join(f"1,{b},1,1" for b in range(1, 2000))
    page = opened("ask", pattern=patterns)
    assert "more than one request may have" in text_of(page)
    assert page.button(key="ask").disabled


def test_a_malformed_pattern_cannot_be_requested(opened: Opened) -> None:
    page = opened("ask", pattern="6,64,64")
    assert "is not of the form a,b,c,d" in text_of(page)
    assert page.button(key="ask").disabled


def test_the_limits_of_a_request_are_the_configured_ones(
    filled: Store, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(server_settings.REQUEST_LIMITS, "8,20.0,2")
    page = opened("ask", pattern="6,64,64,1")
    assert "16 cells are more than one request may have (8)" in text_of(page)
    page.multiselect(key="ask_layouts").select("batch_last").run()
    assert page.number_input(key="ask_budget").value == 20
    assert not page.button(key="ask").disabled


def test_a_chain_whose_factors_do_not_multiply_is_refused(filled: Store, opened: Opened) -> None:
    page = opened("ask", pattern="1,48,192,2\n6,64,64,1")
    page.segmented_control(key="ask_way").select("chain").run()
    assert "do not chain" in text_of(page)


def test_the_cost_of_a_run_is_shown_before_it_is_requested(filled: Store, opened: Opened) -> None:
    page = opened("ask", pattern="6,64,64,1", device="cpu")
    assert "16 cells; no estimate yet: nothing has run on this device" in text_of(page)
    page.selectbox(key="ask_device").select("another device").run()
    page.text_input(key="ask_other_device").input("sim-a100-0000").run()
    page.text_area(key="ask_patterns").input("1,32768,32768,1").run()
    larger = _minutes(page)
    page.text_area(key="ask_patterns").input("6,64,64,1")
    page.text_input(key="ask_batches").input("1024").run()
    assert "16 cells, about 7.5 min" in text_of(page)
    assert larger > 7.5
    page.number_input(key="ask_budget").set_value(5).run()
    assert "Stops after 5 min; cells that do not fit are recorded as skipped" in text_of(page)


def _minutes(page: AppTest) -> float:
    found = re.search(r"16 cells, about ([\d.]+) min", text_of(page))
    assert found
    return float(found[1])


def test_one_person_cannot_fill_the_queue(filled: Store, opened: Opened) -> None:
    for _ in range(30):
        requests.submit(filled, "smoke", "cpu", asked_by="engineer")
    page = opened("ask", pattern="6,64,64,1")
    page.text_input(key="ask_who").input("engineer")
    page.button(key="ask").click().run()
    assert "within the last hour" in text_of(page)
    assert datetime.now(UTC) >= queries.requests(filled)[0].asked_at

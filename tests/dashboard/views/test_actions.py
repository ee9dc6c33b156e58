"""What people do on the pages: who may, under which name, and what the store says of it then."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.auth import current_user as visitor
from kswatch.dashboard.auth.sessions import Visitor
from kswatch.dashboard.auth.settings import Tokens
from kswatch.dashboard.auth.token_auth import TokenDoor
from kswatch.dashboard.views.requests import submit as sending
from kswatch.db.alerts import lifecycle as alert_life
from kswatch.db.queries import basic as queries
from kswatch.db.request_queue import requests
from kswatch.db.request_queue.events import request_events
from kswatch.db.store import Store
from tests.dashboard.simulated_store import NASTY, Plan, fill, fill_queue

Opened = Callable[..., AppTest]
SMALL = Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1)


class OneVisitor(TokenDoor):
    """Signed in already, whatever the cookies say."""

    def __init__(self, one: Visitor | None) -> None:
        super().__init__(Tokens("read" * 9, "act" * 9))
        self.one = one

    def visitor(self, cookies: object) -> Visitor | None:
        return self.one


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
def door() -> Iterator[OneVisitor]:
    """Visitors sign in; who it is, the test says."""
    one = OneVisitor(None)
    visitor.set_door(one)
    yield one
    visitor._door = None


def said(page: AppTest) -> str:
    elements = [*page.subheader, *page.markdown, *page.caption, *page.code, *page.warning, *page.error]
    return "\n".join(str(element.value) for element in elements).replace("\\", "")


def keys(page: AppTest) -> set[str | None]:
    return {button.key for button in page.button}


@pytest.mark.parametrize(
    "one", [pytest.param(None, marks=pytest.mark.slow), Visitor("reader", may_act=False)]
)
def test_who_may_not_act_is_offered_nothing_to_do(
    filled: Store, opened: Opened, door: OneVisitor, one: Visitor | None
) -> None:
    door.one = one
    for path, choices in (("alerts", {}), ("runs", {"run": "2"}), ("runs", {"view": "queue"})):
        page = opened(path, **choices)
        assert not keys(page) & {"act_1", "again_2", "cancel_1", "cancel_2"}, path
    assert opened("ask", pattern="6,64,64,1").button(key="ask").disabled


def test_an_act_after_signing_out_is_refused(filled: Store, opened: Opened, door: OneVisitor) -> None:
    door.one = Visitor("engineer", may_act=True)
    page = opened("ask", pattern="6,64,64,1")
    before = len(queries.requests(filled))
    door.one = None
    page.button(key="ask").click().run()
    assert len(queries.requests(filled)) == before


def test_whoever_is_signed_in_acts_under_that_name(filled: Store, opened: Opened, door: OneVisitor) -> None:
    door.one = Visitor("engineer", may_act=True)
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
        ("somebody", "ask"),
        ("engineer", "ask"),
        ("engineer", "cancel"),
    ]


@pytest.mark.parametrize(
    "action", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("mute", "accept")), "false_alarm"]
)
def test_an_act_that_needs_a_reason_is_done_with_one_and_refused_without(
    filled: Store, opened: Opened, action: str
) -> None:
    page = opened("alerts")
    page.segmented_control(key="alert_action").select(action).run()
    page.text_input(key="who_1").input("engineer")
    page.button(key="act_1").click().run()
    assert "give a reason" in said(page)
    assert queries.alert(filled, 1).state == "open"
    page.text_input(key="why_1").input(NASTY)
    page.button(key="act_1").click().run()
    assert queries.alert(filled, 1).state == alert_life.ACTIONS[action].to_state
    assert queries.alert_events(filled, 1)[-1].reason == NASTY


def test_a_link_to_an_alert_that_ended_opens_it(filled: Store, opened: Opened) -> None:
    alert_life.act(filled, 1, "false_alarm", "engineer", "the fan was off", 1)
    page = opened("alerts", alert="1", state="live")
    assert "No alert is live" in said(page)
    assert "false alarm" in said(page)
    assert "1 false: precision 0 %" in said(page)


def test_a_link_to_a_run_older_than_the_list_opens_it(
    filled: Store, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kswatch.dashboard.views.runs.page.MOST_RUNS", 1)
    page = opened("runs", run="1", view="one")
    assert page.selectbox(key="choice_run").value == "1"


def test_a_run_shows_what_it_said_of_itself_and_can_be_asked_for_again(filled: Store, opened: Opened) -> None:
    page = opened("runs", run="2")
    assert NASTY in page.code[0].value
    page.button(key="again_2").click().run()
    again = queries.requests(filled)[0]
    assert (again.suite, again.device, again.kind) == ("nightly", "sim-a100-0000", "ad_hoc")


def test_a_run_under_way_shows_how_far_it_is_and_its_log(filled: Store, opened: Opened) -> None:
    filled.reopen_run(2)
    page = opened("runs", run="2")
    assert "simulated night 1" in page.code[0].value


def test_the_queue_tells_who_is_alive_and_the_time_that_is_left(filled: Store, opened: Opened) -> None:
    page = opened("runs", view="queue")
    table = page.dataframe[-1].value
    assert list(table["state"]) == ["alive", "stopped"]
    assert "About 0:09:00 until all is done; of 1 request it is not known" in said(page)
    assert "Nobody takes requests" not in said(page)


def test_a_queue_that_nobody_serves_says_so(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    fill_queue(store)
    from kswatch.db.coordination import workers

    workers.say_goodbye(store, "simulated-host:1")
    assert "Nobody takes requests now" in said(opened("ask"))


def test_a_run_that_costs_too_much_is_refused_in_words(filled: Store, opened: Opened) -> None:
    patterns = "\n".join(f"1,{b},1,1" for b in range(1, 2000))
    page = opened("ask", pattern=patterns)
    assert "more than one request may ask for" in said(page)
    assert page.button(key="ask").disabled


def test_a_malformed_pattern_cannot_be_asked_for(opened: Opened) -> None:
    page = opened("ask", pattern="6,64,64")
    assert "is not of the form a,b,c,d" in said(page)
    assert page.button(key="ask").disabled


def test_what_one_request_may_cost_is_what_was_configured(
    filled: Store, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(sending.LIMITS, "8,20.0,2")
    page = opened("ask", pattern="6,64,64,1")
    assert "16 cells are more than one request may ask for (8)" in said(page)
    page.multiselect(key="ask_layouts").select("batch_last").run()
    assert page.number_input(key="ask_budget").value == 20
    assert not page.button(key="ask").disabled


def test_a_chain_whose_factors_do_not_multiply_is_refused(filled: Store, opened: Opened) -> None:
    page = opened("ask", pattern="1,48,192,2\n6,64,64,1")
    page.segmented_control(key="ask_way").select("chain").run()
    assert "do not chain" in said(page)


def test_what_a_run_costs_is_said_before_it_is_sent(filled: Store, opened: Opened) -> None:
    page = opened("ask", pattern="6,64,64,1", device="cpu")
    assert "16 cells: nothing was measured on that device yet" in said(page)
    page.selectbox(key="ask_device").select("another device").run()
    page.text_input(key="ask_other_device").input("sim-a100-0000").run()
    assert "16 cells: about 7.5 minutes" in said(page)
    page.number_input(key="ask_budget").set_value(5).run()
    assert "ends after 5 minutes in any case, and what does not fit is recorded as skipped" in said(page)


def test_one_person_cannot_fill_the_queue(filled: Store, opened: Opened) -> None:
    for _ in range(30):
        requests.ask(filled, "smoke", "cpu", asked_by="engineer")
    page = opened("ask", pattern="6,64,64,1")
    page.text_input(key="ask_who").input("engineer")
    page.button(key="ask").click().run()
    assert "within the last hour" in said(page)
    assert datetime.now(UTC) >= queries.requests(filled)[0].asked_at

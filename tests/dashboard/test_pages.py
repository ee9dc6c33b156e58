"""Each page by itself, without a browser."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.formatting.labels import literal
from kswatch.dashboard.navigation import PAGES
from kswatch.db.alerts import lifecycle
from kswatch.db.queries import basic as queries
from kswatch.db.store import Store
from tests.dashboard.browser_rig import OF_EMPTY_PAGES, html_of
from tests.dashboard.data.simulated_queue import fill_queue
from tests.dashboard.simulated_store import NASTY, Plan, fill

Opened = Callable[..., AppTest]
NEEDING_RUNS = [entry.path for entry in PAGES if entry.path != "ask"]


def texts(page: AppTest) -> str:
    elements = [*page.subheader, *page.markdown, *page.caption, *page.code, *page.warning, *page.error]
    return "\n".join(str(element.value) for element in elements)


@pytest.mark.parametrize("path", [entry.path for entry in PAGES])
def test_a_page_of_a_full_store_draws_without_an_error_and_escapes_its_text(path: str, seen: Opened) -> None:
    page = seen(path)
    assert page.subheader
    assert not page.error
    shown = texts(page)
    for code in page.code:  # shown letter by letter, as a run's log is
        shown = shown.replace(code.value, "")
    assert "<b>bold" not in shown


@pytest.mark.parametrize("path", NEEDING_RUNS)
def test_a_page_of_an_empty_store_shows_the_command_to_run(path: str, empty_url: str, opened: Opened) -> None:
    command = OF_EMPTY_PAGES.get(path, "kswatch nightly")
    (code,) = opened(path, empty_url).code
    assert code.value.startswith(command)


def test_a_missing_store_is_reported_in_a_sentence(opened: Opened, tmp_path_factory) -> None:  # noqa: ANN001
    nowhere = tmp_path_factory.mktemp("nowhere") / "kswatch.db"
    assert "does not exist" in opened("overview", f"sqlite:///{nowhere}").error[0].value


def test_a_damaged_store_is_reported_in_a_sentence(opened: Opened, own_url: str) -> None:
    path = Path(own_url.removeprefix("sqlite:///"))
    fill(Store.open(own_url), Plan(nights=1, patterns=1, devices=("sim-a100",)))
    for damaged in (path.read_bytes()[: path.stat().st_size // 2], b"this is no database " * 100):
        (path.parent / f"{len(damaged)}.db").write_bytes(damaged)
        page = opened("overview", f"sqlite:///{path.parent}/{len(damaged)}.db")
        assert "move it away" in page.error[0].value


def test_the_overview_shows_the_planted_regression(seen: Opened) -> None:
    page = seen("overview")
    assert literal_free(page.subheader[0].value) == "Night of 8 Jan: 2 new alerts"
    assert html_of(page).count("fused slower: latency +12.0 %") == 2


def test_a_simulated_device_carries_its_badge(seen: Opened) -> None:
    assert "simulated" in texts(seen("speedup"))


def test_a_link_reopens_the_same_view(simulated_url: str, opened: Opened) -> None:
    chosen = {"device": "sim-h200-0000", "precision": "bf16", "layout": "batch_last", "baselines": "paper"}
    page = opened("speedup", simulated_url, **chosen)
    assert {name: in_url(page, name) for name in chosen} == chosen
    assert "bf16, batch last, against the paper" in literal_free(texts(page))


def test_invalid_choices_in_a_link_fall_back_to_defaults(simulated_url: str, opened: Opened) -> None:
    page = opened("speedup", simulated_url, device="nowhere", precision="<script>", nights="-3")
    assert (in_url(page, "precision"), in_url(page, "nights")) == ("fp32", "90")


def test_a_choice_is_written_to_the_url(simulated_url: str, opened: Opened) -> None:
    page = opened("speedup", simulated_url)
    page.selectbox(key="choice_precision").select("bf16").run()
    assert in_url(page, "precision") == "bf16"


def test_the_pattern_page_steps_to_the_next_pattern(simulated_url: str, opened: Opened) -> None:
    page = opened("pattern", simulated_url, pattern="1,192,48,2")
    page.button(key="step_after").click().run()
    assert in_url(page, "pattern") == "1,768,192,2"


def test_a_device_without_energy_shows_the_reason(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=1, patterns=1, devices=("sim-a100",), energy=False))
    page = opened("energy", own_url)
    assert "No energy was measured" in literal_free(page.subheader[0].value)
    assert NASTY in page.dataframe[0].value["reason"].iloc[0]


def test_heuristics_are_never_shown_without_the_majority_rate(seen: Opened) -> None:
    table = seen("heuristics").dataframe[0].value
    assert {"majority rate (%)", "accuracy (%)", "balanced accuracy (%)", "mean regret (%)"} <= set(table)


def test_a_run_in_progress_is_shown_on_an_otherwise_empty_store(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=1, patterns=1, devices=("sim-a100",)))
    store.reopen_run(1)
    assert "is in progress" in literal_free(texts(opened("overview", own_url)))


def test_changes_of_the_store_appear_on_the_next_visit(own_url: str, opened: Opened) -> None:
    assert opened("overview", own_url).code
    fill(Store.open(own_url), Plan(nights=1, patterns=1, devices=("sim-a100",)))
    assert not opened("overview", own_url).code


def test_text_of_the_store_is_shown_as_it_was_written(seen: Opened) -> None:
    assert literal(NASTY) in texts(seen("runs", view="one", run="8"))


def test_the_device_page_shows_the_new_driver(seen: Opened) -> None:
    page = seen("devices", device="sim-h200-0000")
    changes = page.dataframe[0].value
    assert changes[["property", "before", "after"]].to_numpy().tolist() == [["driver", "580.65", "590.10"]]


def test_an_alert_shows_cells_suspects_evidence_and_history(seen: Opened) -> None:
    page = seen("alerts", alert="1")
    evidence, suspects, cells, events = (table.value for table in page.dataframe[1:5])
    assert list(cells["change"].unique()) == [12.0]
    assert list(suspects["first measured in run"]) == [7]
    assert list(evidence["property"]) == ["registers per thread"]
    assert list(evidence["change"].round(1)) == [31.2]
    assert list(events["action"]) == ["opened"]
    written = literal_free(texts(page))
    assert "Code: the machine code changed in 16 of 16 known cells." in written
    assert "Canaries: none moved beyond its limit." in written
    assert "SM clock: 1,980 to 1,905 MHz (-3.8 %)." in written
    assert "{'" not in written


def test_acknowledging_an_alert_is_an_event_with_name_and_reason(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1))
    page = opened("alerts", own_url)
    page.text_input(key="who_1").input("kernel engineer")
    page.text_input(key="why_1").input("looking")
    page.button(key="act_1").click().run()
    assert not page.error
    assert queries.alert(store, 1).state == "acknowledged"
    newest = queries.alert_events(store, 1)[-1]
    assert (newest.who, newest.reason) == ("kernel engineer", "looking")


def test_an_action_on_an_alert_that_changed_meanwhile_is_refused(own_url: str, opened: Opened) -> None:
    store = Store.open(own_url)
    fill(store, Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1))
    page = opened("alerts", own_url)
    lifecycle.act(store, 1, "resolve", "another", None, 1)
    page.button(key="act_1").click().run()
    assert queries.alert(store, 1).state == "resolved"


def test_the_queue_shows_the_progress_of_a_run(own_url: str, opened: Opened) -> None:
    fill_queue(Store.open(own_url))
    shown = literal_free(texts(opened("ask", own_url)))
    assert "1 run in progress, 1 queued" in shown
    assert "cancelled by a user: asked twice" in shown
    assert "<b>bold" in shown


def in_url(page: AppTest, name: str) -> str:
    """The value in the address; the test harness gives a list where nothing was written."""
    value = page.query_params[name]
    return value if isinstance(value, str) else value[-1]


def literal_free(text: str) -> str:
    """The text as a reader sees it."""
    return text.replace("\\", "")

"""The door of page links: hostile values of every parameter draw a page without an error."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from kswatch.dashboard.navigation import PAGES
from kswatch.db.store import Store
from tests.dashboard.browser_rig import page_script
from tests.dashboard.simulated_store import Plan, fill
from tests.robustness.fuzz.cases import SECONDS, SEED, cases_for, faults_of, some_cases, within_memory
from tests.robustness.fuzz.hostile_values import INTEGERS, PATTERNS, TEXTS

VIEWS = Path(__file__).parents[3] / "dashboard"
VALUES = tuple(value for value in (*INTEGERS, *TEXTS, *PATTERNS, "\0") if "\udcff" not in value)


def parameters() -> list[str]:
    """Every parameter that a page reads from its address."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(VIEWS.rglob("*.py")))
    calls = r"(?:requested\w*\(|segments\([^,()]*,|select\([^,()]*,|query_params(?:\.get\(|\[))\s*\"(\w+)\""
    return sorted(set(re.findall(calls, source)))


@pytest.fixture(scope="module")
def opened_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store of two simulated nights with an alert."""
    url = f"sqlite:///{tmp_path_factory.mktemp('links') / 'kswatch.db'}"
    store = Store.open(url)
    fill(store, Plan(nights=2, patterns=1, devices=("sim-a100",), regression_night=1, samples=4))
    store.close()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KSWATCH_DATABASE_URL", url)
        yield url


def draw(path: str, choices: dict[str, str | list[str]]) -> str:
    """What went wrong on the page of a link; empty where nothing did."""
    page = AppTest.from_function(page_script, args=(path,), default_timeout=60)
    for name, value in choices.items():
        page.query_params[name] = value
    page.run()
    faults = [
        *(one.value for one in page.exception),
        *(one.value for one in page.error if "defect" in one.value),
    ]
    return f"{path} {choices!r:.500}: {faults[0]}" if faults else ""


def fault_of(randomness: random.Random) -> str:
    """What went wrong on a page opened with several hostile values, some of them repeated."""
    names = parameters()
    chosen = randomness.sample(names, randomness.choice((1, 2, 5, len(names))))
    values: dict[str, str | list[str]] = {name: randomness.choice(VALUES) for name in chosen}
    if randomness.randrange(3) == 0:
        values[chosen[0]] = randomness.choices(VALUES, k=3)
    return draw(randomness.choice(PAGES).path, values)


def test_the_parameters_of_pages_are_found() -> None:
    assert {"run", "alert", "precision", "pattern", "device", "nights", "view"} <= set(parameters())


def test_a_hostile_link_draws_a_page(opened_url: str) -> None:
    assert faults_of(some_cases(7), fault_of) == ""


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS + 300)
def test_hostile_links_draw_pages_for_minutes(
    opened_url: str, record_property: Callable[[str, object], None]
) -> None:
    def count(number: int) -> None:
        record_property("figure", f"fuzzed page links: {number:,} links of seed {SEED}")

    with within_memory(300):
        assert faults_of(cases_for(SECONDS), fault_of, count) == ""


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("name", parameters())
def test_every_parameter_takes_every_hostile_value(opened_url: str, name: str) -> None:
    pages = [
        entry.path
        for entry in PAGES
        if entry.path in ("pattern", "runs", "alerts", "compare", "devices", "ask")
    ]
    values = random.Random(3).sample(VALUES, 12)
    found = [draw(pages[at % len(pages)], {name: value}) for at, value in enumerate(values)]
    assert [fault for fault in found if fault] == []

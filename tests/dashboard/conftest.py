"""One store, one server and one browser for all tests of a session; each test has its own page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from streamlit.testing.v1 import AppTest

from kswatch.db.store import Store
from tests.dashboard.browser_rig import (
    DRAWN_WITHIN_MS,
    DRAWN_WITHIN_S,
    chromium_or_reason,
    launched_browser,
    page_script,
    patient_page,
    running_dashboard,
)
from tests.dashboard.data.simulated_gates import fill_gates
from tests.dashboard.simulated_store import Plan, fill

expect.set_options(timeout=DRAWN_WITHIN_MS)  # a busy machine draws slowly, but it draws

PLAN = Plan(nights=4, patterns=4, regression_night=3, new_driver_night=2, samples=12, hot=True, layers=True)


@pytest.fixture(scope="session")
def simulated_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of two simulated devices over four nights; tests only read it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('simulated') / 'kswatch.db'}"
    store = Store.open(url)
    fill(store, PLAN)
    fill_gates(store)
    store.close()
    return url


@pytest.fixture(scope="session")
def empty_url(tmp_path_factory: pytest.TempPathFactory, empty_file: Path) -> str:
    """A store without a run; tests only read it."""
    return f"sqlite:///{shutil.copy(empty_file, tmp_path_factory.mktemp('without') / 'kswatch.db')}"


@pytest.fixture
def own_url(tmp_path: Path, empty_file: Path) -> str:
    """A store without a run that the test may fill as it likes."""
    return f"sqlite:///{shutil.copy(empty_file, tmp_path / 'kswatch.db')}"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Opens one page on a store without a browser, as a link with these choices would."""

    def open_page(path: str, url: str, **choices: str) -> AppTest:
        monkeypatch.setenv("KSWATCH_DATABASE_URL", url)
        return _draw(path, choices)

    return open_page


@pytest.fixture(scope="session")
def seen(simulated_url: str) -> Callable[..., AppTest]:
    """Pages of the simulated store, each drawn once for all tests that only read it."""

    @cache
    def draw(path: str, **choices: str) -> AppTest:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("KSWATCH_DATABASE_URL", simulated_url)
            return _draw(path, choices)

    return draw


def _draw(path: str, choices: dict[str, str]) -> AppTest:
    page = AppTest.from_function(page_script, args=(path,), default_timeout=DRAWN_WITHIN_S)
    for name, value in choices.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception, page.exception[0].value
    return page


@pytest.fixture(scope="session")
def address(simulated_url: str) -> Iterator[str]:
    """The dashboard on the simulated store."""
    with running_dashboard(simulated_url) as at:
        yield at


@pytest.fixture(scope="session")
def empty_address(empty_url: str) -> Iterator[str]:
    """The dashboard on the empty store."""
    with running_dashboard(empty_url) as at:
        yield at


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; where there is none the test is skipped with the reason."""
    executable, reason = chromium_or_reason()
    if executable is None:
        pytest.skip(reason)
    with launched_browser(executable) as launched:
        yield launched


@pytest.fixture(scope="session")
def desk_context(browser: Browser) -> Iterator[BrowserContext]:
    """Pages as wide as a desk's; they share what the browser has already loaded."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def desk(desk_context: BrowserContext) -> Iterator[Page]:
    """A new page of a desk's width."""
    page = patient_page(desk_context)
    yield page
    page.close()
